package cluster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
)

func TestVerifyDir(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: 2, SnapshotCount: 20})
	for _, key := range []string{"/a/1", "/b/2", "/c/3"} {
		for range 25 {
			mustPut(t, c.Nodes[0], key, "v")
		}
	}
	if _, err := cluster.VerifyDir(*c.Config(0)); err == nil || !strings.Contains(err.Error(), "stop the member first") {
		t.Errorf("a running member: %v", err)
	}
	before := c.Nodes[0].Status()
	for i := range c.Nodes {
		c.Stop(i)
	}
	for range 2 {
		r, err := cluster.VerifyDir(*c.Config(0))
		if err != nil {
			t.Fatal(err)
		}
		if r.ClusterID != before.ClusterID || r.MemberID != before.ID || r.Members != 3 || len(r.Groups) != 2 {
			t.Errorf("%+v", r)
		}
		nodes := 0
		for i, g := range r.Groups {
			nodes += g.Nodes
			if g.RaftIndex != before.Groups[i].RaftIndex || g.Hash != before.Groups[i].Hash || g.LogLast < g.RaftIndex {
				t.Errorf("group %d: %+v, was %+v", i, g, before.Groups[i])
			}
		}
		if nodes != 6 {
			t.Errorf("%d nodes", nodes)
		}
	}
	c.Restart(0, 1, 2)
	mustPut(t, c.Nodes[0], "/a/1", "still works")
	sameHashes(t, c)
}

func TestVerifyDirFinds(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(dir string)
		want   string
	}{
		"nothing there": {func(dir string) { mustRemove(t, dir) }, "holds no member's data"},
		"no log":        {func(dir string) { mustRemove(t, filepath.Join(dir, "raft")) }, "the raft log"},
		"an old log": {func(dir string) {
			mustRemove(t, filepath.Join(dir, "raft"))
			mustCopy(t, filepath.Join(dir, "..", "old"), filepath.Join(dir, "raft"))
		}, "behind the store"},
		"no store": {func(dir string) { mustRemove(t, filepath.Join(dir, "group-0")) }, "holds no store"},
		"a damaged table": {func(dir string) {
			tables, err := filepath.Glob(filepath.Join(dir, "group-0", "db-*", "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatal(tables, err)
			}
			for _, table := range tables {
				b, err := os.ReadFile(table)
				if err != nil {
					t.Fatal(err)
				}
				b[5] ^= 0x10
				mustWrite(t, table, string(b))
			}
		}, "checksum"},
		"an unfinished restore": {func(dir string) { mustWrite(t, filepath.Join(dir, "restore-unfinished"), "") }, "has not finished"},
		"a half done force":     {func(dir string) { mustWrite(t, filepath.Join(dir, "identity.next.json"), "{}") }, "cut short"},
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
			tc.damage(dir)
			if _, err := cluster.VerifyDir(*c.Config(0)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}

func TestVerifyBackup(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	mustPut(t, c.Nodes[0], "/a/b", "v")
	file, index := backupOf(t, c.Nodes[0])
	r, err := cluster.VerifyBackup(bytes.NewReader(file))
	if err != nil || r.Nodes != 2 || r.Index != index || r.ClusterID != c.Nodes[0].ClusterID() || len(r.SHA256) != 64 {
		t.Errorf("%+v %v", r, err)
	}
	file[len(file)/2] ^= 1
	if _, err := cluster.VerifyBackup(bytes.NewReader(file)); err == nil {
		t.Error("a damaged backup passes")
	}
}
