package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// written is what writers were answered: by key, its changes in order.
type written struct {
	mu      sync.Mutex
	changes map[store.Key][]change
}

type change struct {
	index uint64
	node  *store.Node // nil when the key was removed
}

// at returns the node that a key had right after the given index.
func (w *written) at(k store.Key, index uint64) (n *store.Node) {
	for _, c := range w.changes[k] {
		if c.index > index {
			break
		}
		n = c.node
	}
	return n
}

// write changes keys of its own through a member until ctx ends.
func (w *written) write(ctx context.Context, n *cluster.Node, writer int) error {
	random := rand.New(rand.NewPCG(uint64(writer), 1))
	for i := 0; ctx.Err() == nil; i++ {
		k := store.ParseKey(fmt.Sprintf("/d%d-%d/%c/k%d", writer, random.IntN(5), 'a'+rune(random.IntN(3)), random.IntN(4)))
		cmd := store.Command{Op: store.OpSet, Key: k, Value: fmt.Sprint(i)}
		switch random.IntN(6) {
		case 0:
			cmd = store.Command{Op: store.OpDelete, Key: k}
		case 1:
			cmd = store.Command{Op: store.OpCreateInOrder, Value: fmt.Sprint(i)}
		}
		a, err := n.Do(context.Background(), cmd, 0)
		var refused *store.Error
		if errors.As(err, &refused) {
			continue // there was nothing to remove
		}
		if err != nil {
			return err
		}
		c := change{index: a.Event.Index}
		if !a.Event.Action.Removes() {
			c.node = a.Event.Node
		}
		w.mu.Lock()
		w.changes[a.Event.Node.Key] = append(w.changes[a.Event.Node.Key], c)
		w.mu.Unlock()
	}
	return nil
}

// load writes through all members until stopped.
func load(t *testing.T, c *clustertest.Cluster) (w *written, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w = &written{changes: map[store.Key][]change{}}
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() {
			if err := w.write(ctx, n, i); err != nil {
				t.Error(err)
			}
		})
	}
	return w, func() { cancel(); wg.Wait() }
}

func (w *written) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, changes := range w.changes {
		n += len(changes)
	}
	return n
}

// checkRestored compares a cluster with what was written up to an index.
func (w *written) checkRestored(t *testing.T, n *cluster.Node, index uint64) {
	t.Helper()
	for k := range w.changes {
		want := w.at(k, index)
		a, err := n.Get(t.Context(), cluster.Read{Key: k})
		switch {
		case want == nil && err == nil:
			t.Errorf("%s is there, with %d", k, a.Event.Node.ModifiedIndex)
		case want == nil:
		case err != nil:
			t.Errorf("%s: %v, want %q of %d", k, err, want.Value, want.ModifiedIndex)
		case a.Event.Node.Value != want.Value || a.Event.Node.ModifiedIndex != want.ModifiedIndex || a.Event.Node.CreatedIndex != want.CreatedIndex:
			t.Errorf("%s: %+v, want %+v", k, a.Event.Node, want)
		}
	}
}

func backupOf(t *testing.T, n *cluster.Node) (file []byte, index uint64) {
	t.Helper()
	b, err := n.OpenBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var w bytes.Buffer
	if err := b.WriteTo(&w, nil); err != nil {
		t.Fatal(err)
	}
	return w.Bytes(), b.Info().Index
}

// TestBackupUnderLoad takes a backup while all members write, and restores it
// into clusters of other sizes and other numbers of groups.
func TestBackupUnderLoad(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: 4})
	mustPut(t, c.Nodes[0], "/before", "v")
	w, stop := load(t, c)
	clustertest.Eventually(t, "enough is written", func() bool { return w.count() > 300 })
	known := c.Nodes[2].Status().ClosedIndex
	file, index := backupOf(t, c.Nodes[1])
	more := w.count() + 100
	clustertest.Eventually(t, "more is written", func() bool { return w.count() > more })
	stop()
	if index < known {
		t.Errorf("a backup at %d after %d was seen", index, known)
	}
	for _, o := range []clustertest.Options{{Members: 1, Groups: 1}, {Members: 3, Groups: 3}} {
		t.Run(fmt.Sprintf("%d members, %d groups", o.Members, o.Groups), func(t *testing.T) {
			r := clustertest.Restore(t, o, file)
			for _, n := range r.Nodes {
				w.checkRestored(t, n, index)
			}
			sameHashes(t, r)
			checkIndexes(t, r.Nodes[0], index)
			if r.Nodes[0].ClusterID() == c.Nodes[0].ClusterID() {
				t.Error("it is the same cluster")
			}
			// Nobody who joins may replay the logs from their beginning.
			joined := r.Join(0)
			w.checkRestored(t, r.Nodes[joined], index)
			mustPut(t, r.Nodes[joined], "/joined/after", "v")
			sameHashes(t, r)
			if o.Members == 1 {
				return // of two, none can be spared
			}
			r.Stop(joined)
			mustPut(t, r.Nodes[0], "/while/it/is/down", "v")
			r.Restart(joined)
			sameHashes(t, r)
		})
	}
}

// checkIndexes wants a restored cluster to go on above everything the old one
// can have told anybody.
func checkIndexes(t *testing.T, n *cluster.Node, backup uint64) {
	t.Helper()
	first := backup + cluster.DefaultIndexBump
	a := mustPut(t, n, "/after", "v")
	if a.Index <= first {
		t.Errorf("the first index is %d, the backup's was %d", a.Index, backup)
	}
	for _, key := range []string{"/", "/after"} {
		for _, from := range []uint64{1, backup, first} {
			_, err := watchOne(t, n, store.ParseKey(key), from)
			var refused *store.Error
			if !errors.As(err, &refused) || refused.Code != store.CodeEventIndexCleared {
				t.Errorf("watching %s from %d: %v", key, from, err)
			}
		}
		ev, err := watchOne(t, n, store.ParseKey(key), first+1)
		if err != nil || ev.Index != a.Index {
			t.Errorf("watching %s from now: %v %v", key, ev, err)
		}
	}
}

// watchOne returns the first event at or below k from an index on.
func watchOne(t *testing.T, n *cluster.Node, k store.Key, from uint64) (*store.Event, error) {
	t.Helper()
	w, _, err := n.Watch(t.Context(), watch.Request{Key: k, Recursive: true, From: from})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.Next(t.Context())
}

// TestRestoreRefuses tries what cannot come to any good. What a failed restore
// has begun is gone afterwards.
func TestRestoreRefuses(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	mustPut(t, c.Nodes[0], "/k", strings.Repeat("value ", 1000))
	file, _ := backupOf(t, c.Nodes[0])
	c.Stop(0)
	valid := *c.Config(0)
	for name, tc := range map[string]struct {
		change func(cfg *cluster.Config)
		file   []byte
		bump   uint64
		want   string
	}{
		"not empty":         {func(*cluster.Config) {}, file, 0, "is not empty"},
		"name missing":      {func(cfg *cluster.Config) { cfg.Name = "other" }, file, 0, "couldn't find local name"},
		"other peer URLs":   {func(cfg *cluster.Config) { cfg.AdvertisePeerURLs = []string{"http://127.0.0.1:1"} }, file, 0, "must include"},
		"too many groups":   {func(cfg *cluster.Config) { cfg.Groups = 65 }, file, 0, "must be 1 to 64"},
		"cut off":           {nil, file[:len(file)-1], 0, "cut off"},
		"damaged":           {nil, append(slices.Clone(file[:1100]), slices.Repeat([]byte{7}, len(file)-1100)...), 0, "damaged"},
		"no backup":         {nil, []byte("something else"), 0, "cut off"},
		"too high an index": {nil, file, 1 << 63, "too high"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := valid
			if tc.change == nil {
				cfg.DataDir = filepath.Join(t.TempDir(), "new")
			} else {
				tc.change(&cfg)
			}
			_, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(tc.file), tc.bump)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v does not say %q", err, tc.want)
			}
			if left, _ := os.ReadDir(cfg.DataDir); tc.change == nil && len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
	if ok, err := cluster.HasData(valid.DataDir); !ok || err != nil {
		t.Error("the data of the member is gone", err)
	}
}

// TestRestoreInterrupted ends a restore as a power cut does. What is left must
// not be taken for a member's.
func TestRestoreInterrupted(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	mustPut(t, c.Nodes[0], "/k", "v")
	file, _ := backupOf(t, c.Nodes[0])
	c.Stop(0)
	cfg := *c.Config(0)
	cfg.DataDir = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	left := t.TempDir()
	r := io.MultiReader(bytes.NewReader(file[:1024]), readerFunc(func([]byte) (int, error) {
		mustCopy(t, cfg.DataDir, left)
		cancel()
		return 0, io.ErrUnexpectedEOF
	}))
	if _, err := cluster.Restore(ctx, cfg, r, 0); err == nil {
		t.Fatal("restored half a backup")
	}
	cfg.DataDir = left
	n, err := cluster.Open(t.Context(), cfg)
	if err == nil {
		n.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "remove the directory") {
		t.Errorf("%v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestSeedsDiffer restores members of one cluster from two backups. They must
// not come together.
func TestSeedsDiffer(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	mustPut(t, c.Nodes[0], "/k", "v")
	one, _ := backupOf(t, c.Nodes[0])
	mustPut(t, c.Nodes[0], "/k", "w")
	other, _ := backupOf(t, c.Nodes[0])
	ids := map[uint64]bool{c.Nodes[0].ClusterID(): true}
	for i, file := range [][]byte{one, other, one} {
		cfg := *c.Config(0)
		cfg.DataDir = t.TempDir()
		cfg.Groups = 1 + i/2
		r, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(file), cluster.DefaultIndexBump)
		if err != nil {
			t.Fatal(err)
		}
		ids[r.ClusterID] = true
	}
	if len(ids) != 4 {
		t.Errorf("clusters %v", ids)
	}
}

// TestBackupWithoutQuorum wants an error and not an old state.
func TestBackupWithoutQuorum(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 2})
	mustPut(t, c.Nodes[0], "/k", "v")
	c.Stop(1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if b, err := c.Nodes[0].OpenBackup(ctx); err == nil || b != nil {
		t.Errorf("%v, a backup to write: %v", err, b != nil)
	}
}

// TestOldMembersStayOut starts a member of the old cluster where one of the
// restored cluster's is expected, with the same addresses and token.
func TestOldMembersStayOut(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	mustPut(t, c.Nodes[0], "/k", "backup")
	file, _ := backupOf(t, c.Nodes[0])
	mustPut(t, c.Nodes[0], "/k", "later")
	for i := range c.Nodes {
		c.Stop(i)
	}
	old := *c.Config(2)
	for i := range 2 {
		cfg := c.Config(i)
		cfg.DataDir = t.TempDir()
		if _, err := cluster.Restore(t.Context(), *cfg, bytes.NewReader(file), cluster.DefaultIndexBump); err != nil {
			t.Fatal(err)
		}
	}
	c.Restart(0, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if n, err := cluster.Open(ctx, old); err == nil {
		n.Close()
		t.Error("an old member takes part")
	}
	for _, n := range c.Nodes[:2] {
		if got := mustGet(t, n, cluster.Read{Key: store.ParseKey("/k"), Quorum: true}); got.Event.Node.Value != "backup" {
			t.Errorf("/k is %q", got.Event.Node.Value)
		}
	}
	mustPut(t, c.Nodes[1], "/k", "restored")
}
