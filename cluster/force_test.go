package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
)

// TestForceNewCluster goes on with one of three members (reliability MEM-6).
func TestForceNewCluster(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups})
		w, stop := load(t, c)
		clustertest.Eventually(t, "enough is written", func() bool { return w.count() > 200 })
		stop()
		// What a member was asked is applied there, and maybe not yet at the others.
		for _, other := range c.Nodes[1:] {
			last := other.Status().Groups
			clustertest.Eventually(t, "the survivor has it all", func() bool {
				return slices.EqualFunc(c.Nodes[0].Status().Groups, last, func(a, b cluster.GroupStatus) bool { return a.Index >= b.Index })
			})
		}
		before := c.Nodes[0].Status()
		ids := []uint64{before.ID, c.Nodes[1].Status().ID, c.Nodes[2].Status().ID}
		for i := range c.Nodes {
			c.Stop(i)
		}

		c.Config(0).ForceNewCluster = true
		c.Restart(0)
		n := c.Nodes[0]
		after := n.Status()
		if after.ID != before.ID || after.ClusterID != before.ClusterID || len(n.Members()) != 1 {
			t.Fatalf("member %x of %x with %v", after.ID, after.ClusterID, n.Members())
		}
		w.checkRestored(t, n, 1<<62)
		checkHistory(t, n, w)
		if a := mustPut(t, n, "/alone", "v"); a.Index <= before.ClosedIndex {
			t.Errorf("the indexes go back: %d after %d", a.Index, before.ClosedIndex)
		}

		// The flag stays in the unit file, and members are added.
		c.Config(0).ForceNewCluster = false // not for the new one
		joined := c.Join(0)
		c.Config(0).ForceNewCluster = true
		sameHashes(t, &clustertest.Cluster{Nodes: []*cluster.Node{n, c.Nodes[joined]}})
		w.checkRestored(t, c.Nodes[joined], 1<<62)
		c.Stop(0)
		c.Restart(0)
		if m := c.Nodes[0].Members(); len(m) != 2 {
			t.Errorf("the flag has thrown members out: %v", m)
		}

		// Who comes back is told that it is none of the members any more.
		_, err := cluster.Open(withDeadline(t), *c.Config(1))
		if !errors.Is(err, cluster.ErrExpelled) {
			t.Errorf("an old member comes back: %v", err)
		}
		if err := c.Nodes[0].RemoveMember(t.Context(), ids[2]); !errors.Is(err, cluster.ErrMemberRemoved) {
			t.Errorf("removing an old member: %v", err)
		}
	})
}

func withDeadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// checkHistory reads back events of long ago.
func checkHistory(t *testing.T, n *cluster.Node, w *written) {
	t.Helper()
	for k, changes := range w.changes {
		a, err := watchOne(t, n, k, changes[0].index)
		if err != nil || a.Index != changes[0].index {
			t.Errorf("watching %s from %d: %v %v", k, changes[0].index, a, err)
		}
		return
	}
}

// TestForceNewClusterTwice loses the members a second time.
func TestForceNewClusterTwice(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 2})
	mustPut(t, c.Nodes[0], "/k", "1")
	clustertest.Eventually(t, "the survivor has it", func() bool {
		_, err := c.Nodes[1].Get(t.Context(), cluster.Read{Key: store.ParseKey("/k")})
		return err == nil
	})
	c.Stop(0)
	c.Stop(1)
	c.Config(1).ForceNewCluster = true
	c.Restart(1)
	mustPut(t, c.Nodes[1], "/k", "2")
	c.Config(0).ForceNewCluster = false
	joined := c.Join(1)
	c.Stop(joined)
	c.Stop(1)
	// A start without the flag, which finds no quorum, makes it count again.
	c.Config(1).ForceNewCluster = false
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if n, err := cluster.Open(ctx, *c.Config(1)); err == nil {
		n.Close()
		t.Fatal("one of two is a quorum")
	}
	c.Config(1).ForceNewCluster = true
	c.Restart(1)
	if m := c.Nodes[1].Members(); len(m) != 1 {
		t.Errorf("members %v", m)
	}
	if got := mustGet(t, c.Nodes[1], cluster.Read{Key: store.ParseKey("/k"), Quorum: true}); got.Event.Node.Value != "2" {
		t.Errorf("/k is %q", got.Event.Node.Value)
	}
}

// TestForceNewClusterCutShort kills the member in the middle of going on
// alone: whoever starts next completes it, with the flag or without.
func TestForceNewClusterCutShort(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 2, Groups: 2})
	for _, key := range []string{"/a", "/b", "/c", "/d"} {
		mustPut(t, c.Nodes[0], key, "v")
	}
	c.Stop(1)
	c.Stop(0)
	dir := c.Config(0).DataDir
	original := t.TempDir()
	mustCopy(t, dir, original)

	// Find out what the identity to come is, by doing it once.
	c.Config(0).ForceNewCluster = true
	c.Restart(0)
	c.Stop(0)
	next, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var seed struct{ Seed string }
	if err := json.Unmarshal(next, &seed); err != nil {
		t.Fatal(err)
	}
	next = []byte(strings.Replace(string(next), `"started": true`, `"started": false`, 1))
	next = regexp.MustCompile(`,\s*"checksum": "[0-9a-f]*"`).ReplaceAll(next, nil) // of what it was before

	for name, left := range map[string]func(){
		"decided": func() {},
		"one store is done": func() {
			st, err := store.Open(store.Options{Dir: filepath.Join(dir, "group-0"), Groups: 2})
			if err == nil {
				err = errors.Join(st.Reseed(seed.Seed), st.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"the log is gone": func() { mustRemove(t, filepath.Join(dir, "raft")) },
	} {
		for _, flag := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				mustRemove(t, dir)
				mustCopy(t, original, dir)
				mustWrite(t, filepath.Join(dir, "identity.next.json"), string(next))
				left()
				c.Config(0).ForceNewCluster = flag
				c.Restart(0)
				defer c.Stop(0)
				if m := c.Nodes[0].Members(); len(m) != 1 {
					t.Errorf("members %v", m)
				}
				for _, key := range []string{"/a", "/b", "/c", "/d"} {
					mustGet(t, c.Nodes[0], cluster.Read{Key: store.ParseKey(key), Quorum: true})
				}
			})
		}
	}
}

// TestForceNewClusterRefuses what would lose data in silence.
func TestForceNewClusterRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(dir string)
		want   string
	}{
		"no member":  {func(dir string) { mustRemove(t, dir) }, "holds no member"},
		"no log":     {func(dir string) { mustRemove(t, filepath.Join(dir, "raft")) }, "raft log"},
		"a new disk": {func(dir string) { mustRemove(t, filepath.Join(dir, "identity.json")) }, "holds no member"},
		"an old log": {func(dir string) {
			mustRemove(t, filepath.Join(dir, "raft"))
			mustCopy(t, filepath.Join(dir, "..", "old"), filepath.Join(dir, "raft"))
		}, "behind the store"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{})
			mustPut(t, c.Nodes[0], "/k", "v")
			c.Stop(0)
			dir := c.Config(0).DataDir
			mustCopy(t, filepath.Join(dir, "raft"), filepath.Join(dir, "..", "old"))
			c.Restart(0)
			for range 20 {
				mustPut(t, c.Nodes[0], "/k", "w")
			}
			c.Stop(0)
			tc.change(dir)
			c.Config(0).ForceNewCluster = true
			n, err := cluster.Open(withDeadline(t), *c.Config(0))
			if err == nil {
				n.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}
