package cluster_test

import (
	"context"
	"errors"
	"fmt"
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

// Who wants to join must have been added, and must know the others (contract §5.3).
func TestJoinMistakes(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 1})
	there := c.Config(0).InitialCluster[0]
	me := cluster.Peer{Name: "new", URLs: []string{"http://127.0.0.1:1"}}
	added := cluster.Peer{Name: "added", URLs: []string{"http://127.0.0.1:2"}}
	if _, err := c.Nodes[0].AddMember(t.Context(), added.URLs); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		initial []cluster.Peer
		want    string
	}{
		{"nobody runs there", []cluster.Peer{me, {Name: "x", URLs: []string{"http://127.0.0.1:3"}}}, "could not retrieve cluster information"},
		{"nobody else", []cluster.Peer{me}, "could not retrieve cluster information"},
		{"fewer members", []cluster.Peer{there}, "member count is unequal"},
		{"more members", []cluster.Peer{there, added, me}, "member count is unequal"},
		{"not added", []cluster.Peer{there, me}, "unmatched member while checking PeerURLs"},
		{"another's place", []cluster.Peer{there, added}, "no member has the peer URLs http://127.0.0.1:1; add it first"},
	} {
		cfg := *c.Config(0)
		cfg.Name, cfg.DataDir, cfg.Join, cfg.InitialCluster = "new", filepath.Join(t.TempDir(), "data"), cluster.JoinExisting, tc.initial
		cfg.ListenPeerURLs, cfg.AdvertisePeerURLs = []string{"http://127.0.0.1:0"}, me.URLs
		if err := refusedStart(t, &cfg); !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if has, err := cluster.HasData(cfg.DataDir); has || err != nil {
			t.Errorf("%s: the data directory has a member now (%v)", tc.name, err)
		}
	}
}

// Nobody founds a cluster at the doors of another one.
func TestFoundBesideAnotherCluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 1})
	cfg := *c.Config(0)
	cfg.Name, cfg.DataDir, cfg.Token = "new", filepath.Join(t.TempDir(), "data"), "another"
	cfg.ListenPeerURLs, cfg.AdvertisePeerURLs = []string{"http://127.0.0.1:0"}, []string{"http://127.0.0.1:1"}
	cfg.InitialCluster = []cluster.Peer{cfg.InitialCluster[0], {Name: "new", URLs: cfg.AdvertisePeerURLs}}
	if err := refusedStart(t, &cfg); !strings.Contains(err.Error(), "is a member of a running cluster (m0=") {
		t.Error(err)
	}
}

// lateFounder opens member 2 while the others are down, and starts them again
// when it has set out to found the cluster with them.
func lateFounder(t *testing.T, c *clustertest.Cluster) (*cluster.Node, error) {
	t.Helper()
	c.Stop(0)
	c.Stop(1)
	type opened struct {
		n   *cluster.Node
		err error
	}
	result := make(chan opened, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := cluster.Open(ctx, *c.Config(2))
		result <- opened{n, err}
	}()
	clustertest.Eventually(t, "the founder has begun", func() bool {
		has, err := cluster.HasData(c.Config(2).DataDir)
		return err == nil && has
	})
	c.Restart(0, 1)
	o := <-result
	return o.n, o.err
}

// refusedStart returns why a member does not start, or stops soon after.
func refusedStart(t *testing.T, cfg *cluster.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := cluster.Open(ctx, *cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	select {
	case err := <-n.Failed():
		return err
	case <-ctx.Done():
		t.Fatal("a member that must not take part does")
		return nil
	}
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
			data string
			join cluster.JoinMode
			want string
		}{
			{older, cluster.JoinNew, "was rolled back|an older copy"},
			{"", cluster.JoinNew, "already been bootstrapped"},
			{"", cluster.JoinExisting, "started before from another data directory"},
			{"", cluster.JoinAuto, "started before from another data directory"},
		} {
			c.PutData(2, tc.data)
			c.Config(2).Join = tc.join
			err := refusedStart(t, c.Config(2))
			if !regexp.MustCompile(tc.want).MatchString(err.Error()) || !strings.Contains(err.Error(), "etcdctl member add") {
				t.Errorf("%s: %v, want %q and what to do", tc.join, err, tc.want)
			}
			mustPut(t, c.Nodes[0], "/goes", "on")
		}
		// One that hears nothing of the others at first learns it when they are back.
		c.PutData(2, "")
		c.Config(2).Join = cluster.JoinNew
		if n, err := lateFounder(t, c); err == nil {
			n.Close()
			t.Error("a founder that comes too late is taken in")
		} else if !strings.Contains(err.Error(), "refused where member") {
			t.Errorf("a founder that comes too late: %v", err)
		}
		// Without hands.
		c.PutData(2, "")
		c.Config(2).Join, c.Config(2).ReplaceLostSelf = cluster.JoinAuto, true
		n, err := lateFounder(t, c)
		if err != nil {
			t.Fatalf("a founder that comes too late and may replace itself: %v", err)
		}
		c.Nodes[2] = n
		mustPut(t, c.Nodes[2], "/back", "yes")
		c.Stop(2)
		// Again: the member it sets out to be is removed by now.
		c.PutData(2, "")
		if n, err = lateFounder(t, c); err != nil {
			t.Fatalf("a founder that is removed and may replace itself: %v", err)
		}
		c.Nodes[2] = n
		c.Stop(2)
		c.PutData(2, "")
		c.Config(2).Join = cluster.JoinNew // its id is not a founder's any more
		if err := refusedStart(t, c.Config(2)); !strings.Contains(err.Error(), "already been bootstrapped") {
			t.Errorf("an added member without its data: %v", err)
		}
		// The cluster it sets out to found may even be another one.
		c.PutData(2, "")
		c.Config(2).Join, c.Config(2).Token = cluster.JoinNew, "another"
		if n, err := lateFounder(t, c); err == nil {
			n.Close()
			t.Error("a founder of another cluster is taken in")
		} else if !strings.Contains(err.Error(), "another cluster") {
			t.Errorf("a founder of another cluster: %v", err)
		}
		c.PutData(2, "")
		c.Config(2).Join = cluster.JoinAuto
		c.Config(2).ReplaceLostSelf = true
		if n, err = lateFounder(t, c); err != nil {
			t.Fatalf("a founder of another cluster that may replace itself: %v", err)
		}
		c.Nodes[2] = n
		if got := c.Nodes[0].Members(); len(got) != 3 {
			t.Errorf("%d members, want 3", len(got))
		}
		sameHashes(t, c)
	})
}

// TestLeaderJoinedMeanwhile: a member comes back to a group that is led by one
// it has never heard of, and can hear of only from that one (storm 5×1, seed 9515).
func TestLeaderJoinedMeanwhile(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	c.Stop(2)
	joined := c.Join(0)
	letLead(c, joined)
	c.Restart(2)
	if len(c.Nodes[2].Members()) != 4 {
		t.Errorf("it knows of %v", c.Nodes[2].Members())
	}
}

// TestLeaderMovedMeanwhile: the same with one that has another address now.
func TestLeaderMovedMeanwhile(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	id := c.Nodes[0].Status().ID
	c.Stop(2)
	if err := c.Nodes[0].UpdateMember(t.Context(), id, c.Move(0)); err != nil {
		t.Fatal(err)
	}
	c.Stop(0)
	c.Restart(0)
	letLead(c, 0)
	c.Restart(2)
}

// letLead makes a member the leader of the meta group.
func letLead(c *clustertest.Cluster, i int) {
	for {
		leader := c.Nodes[i].Status().Meta.Leader
		if leader == c.Nodes[i].Status().ID {
			return
		}
		for j, n := range c.Nodes { // who stops in order hands over to one of the others
			if n != nil && n.Status().ID == leader {
				c.Stop(j)
				c.Restart(j)
			}
		}
	}
}
