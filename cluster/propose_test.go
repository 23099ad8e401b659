package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// Writes that share log entries get their own answers, each is done once, in
// one order, and those whose clients left are done once or not at all.
func TestWritesThatShareEntries(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		n := clustertest.Start(t, clustertest.Options{Groups: groups}).Nodes[0]
		start := mustPut(t, n, "/d0/start", "")
		const writers, each = 64, 20
		var mu sync.Mutex
		answered, left := map[string]uint64{}, map[string]bool{}
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(i)))
				for j := range each {
					key := fmt.Sprintf("/d%d/k%d", i%5, i*each+j)
					ctx, cancel := context.WithCancel(t.Context())
					if random.IntN(4) == 0 {
						go cancel()
					}
					a, err := n.Do(ctx, store.Command{Op: store.OpCreate, Key: store.ParseKey(key), Value: key}, 0)
					cancel()
					mu.Lock()
					switch {
					case err == nil && (a.Event.Node.Key.String() != key || a.Event.Node.Value != key):
						t.Errorf("the answer to the write of %s tells of %s", key, a.Event.Node.Key)
					case err == nil:
						answered[key] = a.Event.Index
					case errors.Is(err, context.Canceled):
						left[key] = true
					default:
						t.Errorf("create %s: %v", key, err)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()

		end := mustPut(t, n, "/d0/end", "")
		seen := map[string]uint64{}
		for last := start.Index; ; {
			e := firstAfter(t, n, last)
			if e.Index <= last {
				t.Fatalf("event %d after %d", e.Index, last)
			}
			last = e.Index
			if e.Index == end.Index {
				break
			}
			key := e.Node.Key.String()
			if seen[key] != 0 {
				t.Errorf("%s was made twice, at %d and %d", key, seen[key], e.Index)
			}
			seen[key] = e.Index
		}
		for key, index := range answered {
			if seen[key] != index {
				t.Errorf("%s was answered with index %d, the watcher has %d", key, index, seen[key])
			}
			delete(seen, key)
		}
		for key := range seen {
			if !left[key] {
				t.Errorf("%s was made, but nobody wrote it", key)
			}
		}
	})
}

// firstAfter returns the first event of the tree after index.
func firstAfter(t *testing.T, n *cluster.Node, index uint64) *store.Event {
	t.Helper()
	w, _, err := n.Watch(t.Context(), watch.Request{Key: store.ParseKey("/"), Recursive: true, From: index + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	e, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The goroutine that carries a batch may lose its client. It returns at once,
// and the others of the batch get their answers all the same.
func TestAClientLeavesTheBatchItCarries(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	n := c.Nodes[0]
	mustPut(t, n, "/k", "")
	c.Stop(1)
	c.Stop(2)

	// Without a quorum nothing is answered: the first of these are on their
	// way, the others wait for their turn, in batches.
	const writers = 40
	type outcome struct {
		key string
		err error
	}
	outcomes := make(chan outcome, writers)
	leaving, leave := context.WithCancel(t.Context())
	var entered sync.WaitGroup
	for i := range writers {
		ctx := t.Context()
		if i%2 == 0 {
			ctx = leaving
		}
		key := fmt.Sprintf("/w%d", i)
		entered.Add(1)
		go func() {
			entered.Done()
			_, err := n.Do(ctx, store.Command{Op: store.OpSet, Key: store.ParseKey(key), Value: key}, 0)
			outcomes <- outcome{key, err}
		}()
	}
	entered.Wait()
	leave()
	for range writers / 2 {
		if o := <-outcomes; !errors.Is(o.err, context.Canceled) {
			t.Fatalf("set %s: %v, although nothing but leaving can have ended it", o.key, o.err)
		}
	}
	c.Restart(1, 2)
	for range writers / 2 {
		o := <-outcomes
		if o.err != nil {
			t.Fatalf("set %s: %v", o.key, o.err)
		}
		got := mustGet(t, n, cluster.Read{Key: store.ParseKey(o.key), Quorum: true})
		if got.Event.Node.Value != o.key {
			t.Errorf("%s holds %q", o.key, got.Event.Node.Value)
		}
	}
}
