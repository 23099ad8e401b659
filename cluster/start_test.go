package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
)

// raftHostDir is the directory Dragonboat names after the host.
func raftHostDir(t *testing.T, c *clustertest.Cluster, member int) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(c.Config(member).DataDir, "raft", host)
}

func TestRestartUnderAnotherHostName(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Groups: 2})
	want := mustPut(t, c.Nodes[0], "/k", "v")
	c.Stop(0)
	// As if it had been written on another host; its settings file says so too.
	dir := raftHostDir(t, c, 0)
	if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), "some-other-host")); err != nil {
		t.Fatal(err)
	}
	c.Restart(0)
	got := mustGet(t, c.Nodes[0], cluster.Read{Key: store.ParseKey("/k"), Quorum: true})
	if got.Event.Node.ModifiedIndex != want.Index {
		t.Errorf("index %d, want %d", got.Event.Node.ModifiedIndex, want.Index)
	}
}

// Data directories that are not what the member left are refused, with the reason.
func TestDamagedDataDirectories(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, c *clustertest.Cluster)
		reason string
	}{
		{"the raft log is gone", func(t *testing.T, c *clustertest.Cluster) {
			mustRemove(t, filepath.Join(c.Config(0).DataDir, "raft"))
		}, "the raft log"},
		{"the identity cannot be read", func(t *testing.T, c *clustertest.Cluster) {
			mustWrite(t, filepath.Join(c.Config(0).DataDir, "identity.json"), "{")
		}, "identity.json"},
		{"the identity is of the future", func(t *testing.T, c *clustertest.Cluster) {
			mustWrite(t, filepath.Join(c.Config(0).DataDir, "identity.json"), `{"format": 99}`)
		}, "format 99"},
		{"the raft log was rolled back", func(t *testing.T, c *clustertest.Cluster) {
			raft, copied := filepath.Join(c.Config(0).DataDir, "raft"), t.TempDir()
			mustCopy(t, raft, copied)
			c.Restart(0)
			for range 50 {
				mustPut(t, c.Nodes[0], "/k", "later")
			}
			c.Stop(0)
			mustRemove(t, raft)
			mustCopy(t, copied, raft)
		}, "behind the store"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{})
			mustPut(t, c.Nodes[0], "/k", "v")
			c.Stop(0)
			tc.damage(t, c)
			n, err := cluster.Open(t.Context(), *c.Config(0))
			if err == nil {
				n.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("error %q does not say %q", err, tc.reason)
			}
		})
	}
}

func TestDataDirectoryInUse(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	n, err := cluster.Open(t.Context(), *c.Config(0))
	if err == nil {
		n.Close()
		t.Fatal("two members share a data directory")
	}
	if !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %q", err)
	}
}

func TestOwnNameMissing(t *testing.T) {
	cfg := cluster.DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.ListenPeerURLs = []string{"http://127.0.0.1:0"}
	cfg.InitialCluster = []cluster.Peer{{Name: "other", URLs: []string{"http://127.0.0.1:1"}}}
	_, err := cluster.Open(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "couldn't find local name") {
		t.Errorf("error %v", err)
	}
}

// Leaders spread over the members without anybody asking.
func TestLeadersSpread(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: 6})
	clustertest.Eventually(t, "every member leads two groups", func() bool {
		leads := make(map[uint64]int)
		for _, g := range c.Nodes[0].Status().Groups {
			leads[g.Leader]++
		}
		return len(leads) == 3 && leads[0] == 0 && leads[c.Nodes[0].Status().ID] == 2
	})
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mustCopy copies a directory tree.
func mustCopy(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
