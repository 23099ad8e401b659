package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
)

// A cluster grows from one to three and shrinks back to one that was not there
// at the beginning; nothing written on the way is lost.
func TestGrowAndShrink(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 1, Groups: groups, SnapshotCount: 30})
		written := 0
		write := func(n *cluster.Node) {
			for range 40 {
				mustPut(t, n, fmt.Sprintf("/d%d/k%d", written%7, written), fmt.Sprint(written))
				written++
			}
		}
		write(c.Nodes[0])
		for range 2 {
			i := c.Join(0)
			write(c.Nodes[i])
		}
		sameHashes(t, c)
		for _, leaving := range []int{0, 1} {
			id := c.Nodes[leaving].Status().ID
			if err := c.Nodes[2].RemoveMember(t.Context(), id); err != nil {
				t.Fatalf("remove member %d: %v", leaving, err)
			}
			awaitRemoved(t, c.Nodes[leaving])
			c.Stop(leaving)
			write(c.Nodes[2])
			if err := c.Nodes[2].RemoveMember(t.Context(), id); !errors.Is(err, cluster.ErrMemberRemoved) {
				t.Errorf("removing member %x again: %v", id, err)
			}
		}
		for i := range written {
			key := fmt.Sprintf("/d%d/k%d", i%7, i)
			if got := mustGet(t, c.Nodes[2], cluster.Read{Key: store.ParseKey(key), Quorum: true}); got.Event.Node.Value != fmt.Sprint(i) {
				t.Fatalf("%s is %q", key, got.Event.Node.Value)
			}
		}
		if got := c.Nodes[2].Members(); len(got) != 1 || got[0].Name != "m2" {
			t.Errorf("members are %v, want m2 alone", got)
		}
		c.Stop(2)
		c.Restart(2)
		write(c.Nodes[2])

		// The old disk of a removed member is told so.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if n, err := cluster.Open(ctx, *c.Config(1)); !errors.Is(err, cluster.ErrExpelled) {
			t.Errorf("a removed member opens with %v", err)
			if n != nil {
				n.Close()
			}
		}
	})
}

func awaitRemoved(t *testing.T, n *cluster.Node) {
	t.Helper()
	select {
	case <-n.Removed():
	case <-time.After(time.Minute):
		t.Fatal("a removed member has not heard of it")
	}
}

// A member is known by its id: it may be stopped, moved and started again.
func TestMoveMember(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	id := c.Nodes[2].Status().ID
	c.Stop(2)
	moved := c.Move(2)
	if err := c.Nodes[0].UpdateMember(t.Context(), id, moved); err != nil {
		t.Fatal(err)
	}
	c.Restart(2)
	for _, n := range c.Nodes {
		i := slices.IndexFunc(n.Members(), func(m cluster.Member) bool { return m.ID == id })
		if got := n.Members()[i].PeerURLs; !slices.Equal(got, moved) {
			t.Errorf("the moved member is said to be at %v, want %v", got, moved)
		}
	}
	mustPut(t, c.Nodes[2], "/moved", "yes")
	if err := c.Nodes[0].UpdateMember(t.Context(), id, c.Config(1).AdvertisePeerURLs); !errors.Is(err, cluster.ErrPeerURLExists) {
		t.Errorf("moving to another's address: %v", err)
	}
}

// Two of three members stay: one more must not be removed while one is down.
func TestUnsafeRemovalIsRefused(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	ids := []uint64{c.Nodes[0].Status().ID, c.Nodes[1].Status().ID, c.Nodes[2].Status().ID}
	c.Stop(2)
	unsafe := new(cluster.UnsafeChangeError)
	if err := c.Nodes[0].RemoveMember(t.Context(), ids[1]); !errors.As(err, &unsafe) {
		t.Fatalf("removing one of two that run: %v", err)
	}
	if err := c.Nodes[0].RemoveMember(t.Context(), ids[2]); err != nil {
		t.Fatalf("removing the one that is down: %v", err)
	}
	mustPut(t, c.Nodes[1], "/a", "b")
}

// A member whose directory was emptied or set back does not take part any more.
func TestLostAndOldDataIsRefused(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups, SnapshotCount: 20})
		c.Stop(2)
		older := c.CopyData(2)
		c.Restart(2)
		for i := range 30 {
			mustPut(t, c.Nodes[i%3], fmt.Sprintf("/d%d", i), "x")
		}
		c.Stop(2)
		for _, tc := range []struct {
			name string
			data func()
		}{
			{"an older copy", func() { c.PutData(2, older) }},
			{"nothing, new", func() { c.PutData(2, "") }},
			{"nothing, existing", func() { c.PutData(2, ""); c.Config(2).Join = cluster.JoinExisting }},
			{"nothing, auto", func() { c.PutData(2, ""); c.Config(2).Join = cluster.JoinAuto }},
		} {
			tc.data()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			n, err := cluster.Open(ctx, *c.Config(2))
			cancel()
			if err == nil {
				err = <-n.Failed()
				n.Close()
			}
			t.Logf("%s: %v", tc.name, err)
			mustPut(t, c.Nodes[0], "/goes", "on")
		}
		// Without hands.
		c.Config(2).ReplaceLostSelf = true
		c.PutData(2, "")
		c.Restart(2)
		mustPut(t, c.Nodes[2], "/back", "yes")
		if got := c.Nodes[0].Members(); len(got) != 3 {
			t.Errorf("%d members, want 3", len(got))
		}
		sameHashes(t, c)
	})
}
