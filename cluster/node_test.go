package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

func mustPut(t *testing.T, n *cluster.Node, key, value string) cluster.Answer {
	t.Helper()
	a, err := n.Do(t.Context(), store.Command{Op: store.OpSet, Key: store.ParseKey(key), Value: value}, 0)
	if err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
	return a
}

func mustGet(t *testing.T, n *cluster.Node, r cluster.Read) cluster.Answer {
	t.Helper()
	a, err := n.Get(t.Context(), r)
	if err != nil {
		t.Fatalf("get %s: %v", r.Key, err)
	}
	return a
}

// forGroups runs a test with one group and with four.
func forGroups(t *testing.T, f func(t *testing.T, groups int)) {
	for _, groups := range []int{1, 4} {
		t.Run(fmt.Sprintf("groups=%d", groups), func(t *testing.T) { f(t, groups) })
	}
}

func TestFirstIndex(t *testing.T) {
	for _, members := range []int{1, 3} {
		c := clustertest.Start(t, clustertest.Options{Members: members})
		a := mustPut(t, c.Nodes[0], "/foo", "bar")
		if want := uint64(2*members + 2); a.Index != want {
			t.Errorf("%d members: the first write has index %d, want %d", members, a.Index, want)
		}
	}
}

func TestWritesThroughAnyMemberAreReadThereAtOnce(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups})
		for i := range 60 {
			n, key, value := c.Nodes[i%3], fmt.Sprintf("/d%d/k", i%7), fmt.Sprint(i)
			a := mustPut(t, n, key, value)
			got := mustGet(t, n, cluster.Read{Key: store.ParseKey(key)})
			if got.Event.Node.Value != value || got.Index < a.Index {
				t.Fatalf("wrote %s=%s at %d, read %q at %d", key, value, a.Index, got.Event.Node.Value, got.Index)
			}
			other := mustGet(t, c.Nodes[(i+1)%3], cluster.Read{Key: store.ParseKey(key), Quorum: true})
			if other.Event.Node.Value != value {
				t.Fatalf("a quorum read elsewhere shows %q after %q was acknowledged", other.Event.Node.Value, value)
			}
		}
	})
}

func TestRestartKeepsEverything(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups, SnapshotCount: 20})
		last := make(map[string]uint64)
		for round := range 3 {
			for i := range 30 {
				key := fmt.Sprintf("/d%d/k%d", i%5, i)
				last[key] = mustPut(t, c.Nodes[i%3], key, fmt.Sprint(round)).Index
			}
			for i := range 3 {
				c.Stop(i)
			}
			c.Restart(0, 1, 2)
			for key, index := range last {
				for _, n := range c.Nodes {
					if got := mustGet(t, n, cluster.Read{Key: store.ParseKey(key)}); got.Event.Node.ModifiedIndex != index {
						t.Fatalf("%s has index %d after the restart, was acknowledged with %d", key, got.Event.Node.ModifiedIndex, index)
					}
				}
			}
		}
		sameHashes(t, c)
	})
}

// sameHashes waits until all replicas have applied the same and compares their running hashes.
func sameHashes(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	clustertest.Eventually(t, "all replicas have applied the same", func() bool {
		first := c.Nodes[0].Status()
		for _, n := range c.Nodes[1:] {
			for i, g := range n.Status().Groups {
				if g.RaftIndex != first.Groups[i].RaftIndex {
					return false
				}
				if g.Hash != first.Groups[i].Hash {
					t.Fatalf("group %d at raft index %d: hash %x and %x", i, g.RaftIndex, g.Hash, first.Groups[i].Hash)
				}
			}
		}
		return true
	})
}

// A member that was away while the log was compacted gets a snapshot, and goes on.
func TestSnapshotInstall(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups, SnapshotCount: 25})
		mustPut(t, c.Nodes[2], "/before", "x")
		c.Stop(2)
		var want cluster.Answer
		for i := range 400 {
			want = mustPut(t, c.Nodes[i%2], fmt.Sprintf("/d%d/k", i%9), fmt.Sprint(i))
		}
		c.Restart(2)
		got := mustGet(t, c.Nodes[2], cluster.Read{Key: want.Event.Node.Key})
		if got.Event.Node.ModifiedIndex != want.Index {
			t.Fatalf("the returned member shows index %d, want %d", got.Event.Node.ModifiedIndex, want.Index)
		}
		mustPut(t, c.Nodes[2], "/after", "y")
		sameHashes(t, c)
	})
}

func TestLeaderStops(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	leader, ok := c.Nodes[0].Leader()
	if !ok {
		t.Fatal("no leader")
	}
	for i, n := range c.Nodes {
		if n.Status().ID == leader.ID {
			c.Stop(i)
		}
	}
	for _, n := range c.Nodes {
		if n != nil {
			mustPut(t, n, "/k", "v")
		}
	}
}

func TestRootOverGroups(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups})
		var last uint64
		for i := range 20 {
			a := mustPut(t, c.Nodes[i%3], fmt.Sprintf("/k%d", i), "v")
			got := mustGet(t, c.Nodes[i%3], cluster.Read{Key: store.ParseKey("/")})
			if len(got.Event.Node.Nodes) < i+1 && i%3 == 0 || got.Index < a.Index {
				t.Fatalf("after write %d at %d the root shows %d nodes at %d", i, a.Index, len(got.Event.Node.Nodes), got.Index)
			}
			last = max(last, a.Index)
		}
		got := mustGet(t, c.Nodes[2], cluster.Read{Key: store.ParseKey("/"), Quorum: true})
		if len(got.Event.Node.Nodes) != 20 || got.Index < last {
			t.Fatalf("the root shows %d nodes at %d, want 20 at %d or later", len(got.Event.Node.Nodes), got.Index, last)
		}
	})
}

// Every member's root watcher sees every event once, in index order.
func TestRootWatchOverGroups(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups})
		const writers, each = 6, 40
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		logs := make([][]uint64, len(c.Nodes))
		var wg sync.WaitGroup
		for i, n := range c.Nodes {
			w, _, err := n.Watch(ctx, watch.Request{Recursive: true, Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			wg.Go(func() {
				for range writers * each {
					ev, err := w.Next(ctx)
					if err != nil {
						t.Errorf("watcher %d: %v", i, err)
						return
					}
					logs[i] = append(logs[i], ev.Index)
				}
			})
		}
		for j := range writers {
			wg.Go(func() {
				for i := range each {
					cmd := store.Command{Op: store.OpSet, Key: store.ParseKey(fmt.Sprintf("/w%d/k", j)), Value: fmt.Sprint(i)}
					if _, err := c.Nodes[j%3].Do(ctx, cmd, 0); err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
		}
		wg.Wait()
		for i, log := range logs {
			for k := range log {
				if k > 0 && log[k] <= log[k-1] {
					t.Fatalf("watcher %d saw %d after %d", i, log[k], log[k-1])
				}
				if log[k] != logs[0][k] {
					t.Fatalf("event %d has index %d on member %d and %d on member 0", k, log[k], i, logs[0][k])
				}
			}
		}
	})
}

// What a client has seen through one member has a lower index than what it
// then writes through another, if it says so.
func TestSeenRaisesTheFloor(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 1, Groups: 4})
	n := c.Nodes[0]
	a, err := n.Do(t.Context(), store.Command{Op: store.OpSet, Key: store.ParseKey("/a")}, 5000)
	if err != nil || a.Index <= 5000 {
		t.Fatalf("index %d (%v), want above 5000", a.Index, err)
	}
	_, err = n.Do(t.Context(), store.Command{Op: store.OpSet, Key: store.ParseKey("/a")}, 10_000_000)
	if !errors.Is(err, cluster.ErrIndexTooHigh) {
		t.Fatalf("error %v, want ErrIndexTooHigh", err)
	}
}

func TestTTLExpires(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups})
		start := time.Now()
		_, err := c.Nodes[1].Do(t.Context(), store.Command{
			Op: store.OpSet, Key: store.ParseKey("/t"), Value: "v",
			HasTTL: true, TTL: 1, Expiration: start.Add(time.Second).UnixNano(),
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w, _, err := c.Nodes[2].Watch(ctx, watch.Request{Key: store.ParseKey("/t"), From: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for {
			ev, err := w.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if ev.Action == store.ActionExpire {
				break
			}
			if w, _, err = c.Nodes[2].Watch(ctx, watch.Request{Key: store.ParseKey("/t"), From: ev.Index + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < time.Second {
			t.Fatalf("expired after %v, before its time", took)
		}
	})
}

// A member that lost its data is not let in again under its old id.
// A member that is going down is still asked who it is: by those who watch it, and by its own parts.
func TestStatusOfAStoppedMember(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 1})
	n := c.Nodes[0]
	if s := n.Status(); len(s.Meta.Voters) != 1 || len(s.Groups[0].Voters) != 1 {
		t.Errorf("the voters are %v and %v, want this member", s.Meta.Voters, s.Groups[0].Voters)
	}
	c.Stop(0)
	if s := n.Status(); len(s.Meta.Voters) != 0 || len(s.Groups[0].Voters) != 0 {
		t.Errorf("the voters are %v and %v, and nothing runs", s.Meta.Voters, s.Groups[0].Voters)
	}
}

func TestWipedMemberIsRefused(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	c.Stop(2)
	cfg := *c.Config(2)
	cfg.DataDir = t.TempDir()
	n, err := cluster.Open(t.Context(), cfg)
	if err == nil {
		n.Close()
		t.Fatal("it started")
	}
	t.Log(err)
}
