package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
)

// spoil damages all tables and logs of a member's store.
func spoil(t *testing.T, c *clustertest.Cluster, member, group int) {
	t.Helper()
	dir := filepath.Join(c.Config(member).DataDir, fmt.Sprintf("group-%d", group), "db-1")
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d tables in %s: %v", len(files), dir, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[5] ^= 1
		mustWrite(t, path, string(b))
	}
}

// A damaged store is rebuilt from another member's, also when the cluster has gone on and thrown away the log, and the
// member that has it takes part under its own id.
func TestDamagedStoreIsRebuilt(t *testing.T) {
	forGroups(t, func(t *testing.T, groups int) {
		c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: groups, SnapshotCount: 20})
		for i := range 100 {
			mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "v")
		}
		c.Stop(2)
		for i := range 100 {
			mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "later")
		}
		for g := range groups {
			spoil(t, c, 2, g)
		}
		c.Restart(2)
		for i := range 100 {
			got := mustGet(t, c.Nodes[2], cluster.Read{Key: store.ParseKey(fmt.Sprintf("/k%d", i))})
			if v := got.Event.Node.Value; v != "later" {
				t.Fatalf("/k%d is %q", i, v)
			}
		}
		mustPut(t, c.Nodes[2], "/k", "its own")
		sameHashes(t, c)
		// Its log, which ends where it stopped, catches up with the store; a restart before and after is no rollback.
		c.Stop(2)
		c.Restart(2)
		mustPut(t, c.Nodes[0], "/k", "last")
		sameHashes(t, c)
		if _, err := os.Stat(filepath.Join(c.Config(2).DataDir, "group-0.damaged")); err != nil {
			t.Errorf("what was damaged is not kept: %v", err)
		}
	})
}

// A member alone has its log, if that goes back to the first entry, and refuses to start otherwise.
func TestDamagedStoreOfOneAlone(t *testing.T) {
	for name, compacted := range map[string]bool{"the log is complete": false, "the log was cut off": true} {
		t.Run(name, func(t *testing.T) {
			count := uint64(10_000)
			if compacted {
				count = 20
			}
			c := clustertest.Start(t, clustertest.Options{SnapshotCount: count})
			for i := range 100 {
				mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "v")
			}
			c.Stop(0)
			spoil(t, c, 0, 0)
			if !compacted {
				c.Restart(0)
				for i := range 100 {
					mustGet(t, c.Nodes[0], cluster.Read{Key: store.ParseKey(fmt.Sprintf("/k%d", i)), Quorum: true})
				}
				return
			}
			for range 2 { // it does not come up empty the second time either
				n, err := cluster.Open(t.Context(), *c.Config(0))
				if err == nil {
					n.Close()
					t.Fatal("it started")
				}
				if !strings.Contains(err.Error(), "restore a backup") {
					t.Errorf("error %q", err)
				}
			}
		})
	}
}

// A store that is gone is no new one.
func TestStoreIsGone(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3, SnapshotCount: 20})
	for i := range 100 {
		mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "v")
	}
	c.Stop(1)
	mustRemove(t, filepath.Join(c.Config(1).DataDir, "group-0"))
	c.Restart(1)
	mustGet(t, c.Nodes[1], cluster.Read{Key: store.ParseKey("/k7")})
	sameHashes(t, c)
}

// A raft log that has lost its end must not vote: nothing else would notice here, since the store is behind it as well.
func TestRaftLogLostItsEnd(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	for i := range 20 {
		mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "v")
	}
	c.Stop(0)
	data := c.Config(0).DataDir
	copied := t.TempDir()
	mustCopy(t, data, copied)
	c.Restart(0)
	for i := range 20 {
		mustPut(t, c.Nodes[0], fmt.Sprintf("/k%d", i), "later")
	}
	c.Stop(0)
	for _, part := range []string{raftHostDir(t, c, 0), filepath.Join(data, "group-0")} {
		mustRemove(t, part)
		rel, err := filepath.Rel(data, part)
		if err != nil {
			t.Fatal(err)
		}
		mustCopy(t, filepath.Join(copied, rel), part)
	}
	n, err := cluster.Open(t.Context(), *c.Config(0))
	if err == nil {
		n.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), "member remove") {
		t.Errorf("error %q", err)
	}
}

// A bit of the identity that makes another number of a number must not go unnoticed.
func TestIdentityHasAChecksum(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	c.Stop(0)
	path := filepath.Join(c.Config(0).DataDir, "identity.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was := string(b)
	if !strings.Contains(was, `"firstIndex": 3`) {
		t.Fatal(was)
	}
	mustWrite(t, path, strings.Replace(was, `"firstIndex": 3`, `"firstIndex": 1`, 1))
	n, err := cluster.Open(t.Context(), *c.Config(0))
	if err == nil {
		n.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %q", err)
	}
	mustWrite(t, path, was)
	c.Restart(0)
}

// Whatever of Dragonboat's is damaged, Open says so, what to do, and does not panic. What it needs no more, it does without.
func TestDamagedRaftFiles(t *testing.T) {
	for _, tc := range []struct {
		name, pattern, refused string
		damage                 func(b []byte) []byte
	}{
		{"the newest log", "logdb-0/*.log", "is damaged", func(b []byte) []byte { clear(b[:min(4096, len(b))]); return b }},
		{"the manifest", "logdb-0/MANIFEST-*", "is damaged", func(b []byte) []byte { clear(b[:64]); return b }},
		{"CURRENT", "logdb-0/CURRENT", "is damaged", func(b []byte) []byte { b[3] ^= 1; return b }},
		{"the snapshot of the meta group", "snapshot-part-1/*/*/*.gbsnap", "is damaged", func(b []byte) []byte { b[1100] ^= 1; return b }},
		{"the number of the host", "../../NODEHOST.ID", "", func(b []byte) []byte { b[9] ^= 1; return b }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{SnapshotCount: 2})
			for range 5 {
				mustPut(t, c.Nodes[0], "/k", "v")
			}
			for range 3 { // each start writes to the meta group
				c.Stop(0)
				c.Restart(0)
			}
			c.Stop(0)
			files, err := filepath.Glob(filepath.Join(raftHostDir(t, c, 0), "*", tc.pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("%d files: %v", len(files), err)
			}
			for _, path := range files {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				mustWrite(t, path, string(tc.damage(b)))
			}
			n, err := cluster.Open(t.Context(), *c.Config(0))
			if n != nil {
				defer n.Close()
			}
			switch {
			case tc.refused == "" && err != nil:
				t.Error(err)
			case tc.refused != "" && (err == nil || !strings.Contains(err.Error(), tc.refused) || !strings.Contains(err.Error(), "member remove")):
				t.Errorf("error %v", err)
			}
		})
	}
}
