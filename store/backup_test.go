package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// route spreads keys over groups as a cluster does, by their first component.
func route(k store.Key, groups int) int {
	sum := 0
	for _, c := range []byte(k.First()) {
		sum += int(c)
	}
	return sum % groups
}

// everyKey lists all keys that keyGen can make but the root.
func everyKey() []store.Key {
	var all []store.Key
	for dirs, depth := []store.Key{{}}, 0; depth < 3; depth++ {
		var next []store.Key
		for _, d := range dirs {
			for _, name := range []string{"a", "b", "ab", "_h", "c-d"} {
				next = append(next, d.Child(name))
			}
		}
		all, dirs = append(all, next...), next
	}
	return all
}

// nodesAt reads every key there can be, hidden ones too.
func nodesAt(t tester, stores []*replica, index uint64) map[string]store.Node {
	t.Helper()
	nodes := map[string]store.Node{}
	for _, k := range everyKey() {
		e, refused := stores[route(k, len(stores))].GetAt(k, false, index)
		if refused == nil {
			n := *e.Node
			n.Nodes = nil
			nodes[k.String()] = n
		} else if refused.Code == store.CodeRaftInternal || refused.Code == store.CodeEventIndexCleared {
			t.Fatalf("%s at %d: %v", k, index, refused)
		}
	}
	return nodes
}

func sameNodes(t tester, what string, got, want map[string]store.Node) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b store.Key) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// readBackup reads all of a backup.
func readBackup(b []byte) (info store.BackupInfo, nodes []store.SavedNode, sum string, err error) {
	r, err := store.NewBackupReader(bytes.NewReader(b))
	if err != nil {
		return info, nil, "", err
	}
	defer r.Close()
	for {
		n, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Info(), nodes, r.SHA256(), nil
		}
		if err != nil {
			return info, nil, "", err
		}
		nodes = append(nodes, n)
	}
}

// seed makes new stores of a backup.
func seed(t tester, root string, backup []byte, groups int, first uint64) []*replica {
	t.Helper()
	var replicas []*replica
	var seeders []*store.Seeder
	for g := range groups {
		r := &replica{t: t, root: root, opt: store.Options{Group: g, Groups: groups, FirstIndex: first, FlushInterval: never, History: 20}}
		r.opt.Dir = r.newDir()
		s, err := store.NewSeeder(r.opt)
		r.must(err)
		replicas, seeders = append(replicas, r), append(seeders, s)
	}
	_, nodes, _, err := readBackup(backup)
	replicas[0].must(err)
	for i := range nodes {
		replicas[0].must(seeders[route(nodes[i].Key, groups)].Add(&nodes[i]))
	}
	for g, s := range seeders {
		replicas[g].must(s.Finish("seed"))
		_, err := store.Verify(replicas[g].opt)
		replicas[g].must(err)
		replicas[g].open()
	}
	return replicas
}

// TestBackupRoundTrip takes a backup of random trees while they go on
// changing, and makes stores of other numbers of groups of it.
func TestBackupRoundTrip(t *testing.T) {
	fewChecks(t, "12")
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.SampledFrom([]int{1, 3}).Draw(rt, "from")
		var sources []*replica
		for g := range from {
			r := newReplica(rt, root, store.Options{
				Group: g, Groups: from, FirstIndex: 3,
				FlushInterval: rapid.SampledFrom([]time.Duration{time.Millisecond, never}).Draw(rt, "flush"),
			})
			defer r.remove()
			sources = append(sources, r)
		}
		c := &changes{sources: sources}
		for range rapid.IntRange(0, 60).Draw(rt, "before") {
			c.one(rt)
		}
		at := c.level()
		want := nodesAt(rt, sources, at)
		b, err := store.NewBackup(c.stores(), store.BackupInfo{ClusterID: 7, Index: at, Groups: from, Time: time.Unix(99, 0), Version: "v"})
		if err != nil {
			rt.Fatal(err)
		}
		defer b.Close()
		for range rapid.IntRange(0, 20).Draw(rt, "after") {
			c.one(rt)
		}
		var file bytes.Buffer
		if err := b.WriteTo(&file, nil); err != nil {
			rt.Fatal(err)
		}
		b.Close()
		info, nodes, _, err := readBackup(file.Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		if info.Index != at || info.ClusterID != 7 || info.Groups != from || info.Time.Unix() != 99 || len(nodes) != len(want) {
			rt.Fatalf("%+v with %d nodes, want %d", info, len(nodes), len(want))
		}
		first := at + 1000
		restored := seed(rt, root, file.Bytes(), rapid.SampledFrom([]int{1, 3, 4}).Draw(rt, "to"), first)
		for _, r := range restored {
			defer r.remove()
		}
		sameNodes(rt, "restored", nodesAt(rt, restored, math.MaxUint64), want)
		checkRestored(rt, restored, first)
	})
}

// changes makes random changes of a tree that is spread over groups.
type changes struct{ sources []*replica }

func (c *changes) stores() (all []*store.Store) {
	for _, r := range c.sources {
		all = append(all, r.Store)
	}
	return all
}

func (c *changes) highest() (index uint64) {
	for _, r := range c.sources {
		index = max(index, r.Frontier())
	}
	return index
}

// level raises all groups to one index and returns it.
func (c *changes) level() uint64 {
	at := c.highest()
	for _, r := range c.sources {
		r.apply(store.Command{Op: store.OpTick, Floor: at})
	}
	return at
}

func (c *changes) one(t *rapid.T) {
	k := keyGen.Draw(t, "key")
	r := c.sources[route(k, len(c.sources))]
	cmd := store.Command{Key: k, Value: valueGen.Draw(t, "value"), Floor: c.highest()}
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		cmd.Op, cmd.Recursive, cmd.Dir = store.OpDelete, true, true
	case 1:
		clock, _ := r.Clock()
		cmd = store.Command{Op: store.OpAdvance, Clock: clock, Step: int64(rapid.IntRange(1, 250).Draw(t, "ms")) * 1e6}
	case 2:
		cmd.Op, cmd.Dir = store.OpCreate, true
	case 3:
		cmd.Op = store.OpUpdate
	default:
		cmd.Op = store.OpSet
	}
	if cmd.Op != store.OpAdvance && cmd.Op != store.OpDelete && rapid.Bool().Draw(t, "expires") {
		cmd.HasTTL, cmd.TTL, cmd.Expiration = true, int64(rapid.IntRange(0, 3).Draw(t, "TTL")), 12345
	}
	if cmd.Dir {
		cmd.Value = ""
	}
	r.apply(cmd)
}

// checkRestored goes on with restored stores as a cluster would.
func checkRestored(t tester, restored []*replica, first uint64) {
	t.Helper()
	for _, r := range restored {
		if raft, index, _ := r.Digest(); raft != 0 || index != first || r.Seed() != "seed" {
			t.Fatalf("restored at %d, log %d, seed %q", index, raft, r.Seed())
		}
		if _, err := r.Events(first, math.MaxUint64, 10); !isCleared(err) {
			t.Fatalf("watching from before: %v", err)
		}
		if events, err := r.Events(first+1, math.MaxUint64, 10); err != nil || len(events) > 0 {
			t.Fatalf("watching from now: %v %v", events, err)
		}
		// Everything that can expire does, and the rest stays.
		for range 20 {
			clock, _ := r.Clock()
			r.apply(store.Command{Op: store.OpAdvance, Clock: clock, Step: int64(store.Tick)})
		}
		if _, left := r.Clock(); left != 0 {
			t.Fatalf("%d nodes do not expire", left)
		}
		expired, err := r.Events(first+1, math.MaxUint64, 1000)
		r.must(err)
		r.must(r.Flush())
		res := r.apply(store.Command{Op: store.OpSet, Key: store.Key{}.Child("after"), Value: "v"})
		if res.Event == nil || res.Event.Index <= first || int(res.Event.Index%uint64(r.opt.Groups)) != r.opt.Group {
			t.Fatalf("after the restore: %+v", res)
		}
		events, err := r.Events(first+1, math.MaxUint64, 1000)
		if r.must(err); len(events) != len(expired)+1 {
			t.Fatalf("%d events after %d", len(events), len(expired))
		}
		r.reopen()
		if r.Seed() != "seed" {
			t.Fatalf("the seed is lost at a restart")
		}
		for i := range 30 { // more than the history holds
			r.apply(set("/after", fmt.Sprint(i)))
		}
		if events, err := r.Events(r.oldest(), math.MaxUint64, 1000); err != nil || len(events) != 20 {
			t.Fatalf("a history of %d: %v", len(events), err)
		}
		r.close()
		if _, err := store.Verify(r.opt); err != nil {
			t.Fatalf("%v", err)
		}
		r.open()
	}
}

func isCleared(err error) bool {
	var refused *store.Error
	return errors.As(err, &refused) && refused.Code == store.CodeEventIndexCleared
}

// smallBackup is a backup that names everything the format has.
func smallBackup(t testing.TB) []byte {
	t.Helper()
	r := newReplica(t, t.TempDir(), oneGroup(never))
	defer r.close()
	r.apply(set("/dir/file", "value"))
	r.apply(set("/dir/_hidden/f", "\x00binary\xff"))
	r.apply(store.Command{Op: store.OpSet, Key: store.ParseKey("/dir/file"), Value: "changed"})
	r.apply(store.Command{Op: store.OpCreate, Key: store.ParseKey("/empty"), Dir: true, HasTTL: true, TTL: 1 << 30, Expiration: 2e18})
	r.apply(store.Command{Op: store.OpSet, Key: store.ParseKey("/short"), Value: "", HasTTL: true, TTL: 5, Expiration: 1e18})
	r.apply(store.Command{Op: store.OpSet, Key: store.ParseKey("/ключ"), Value: strings.Repeat("long ", 1000)})
	b, err := store.NewBackup([]*store.Store{r.Store}, store.BackupInfo{
		ClusterID: 0xcdf818194e3a8c32, Index: r.Frontier(), Groups: 1, Time: time.Unix(1_700_000_000, 0), Version: "1.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var file bytes.Buffer
	if err := b.WriteTo(&file, nil); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestBackupFormat reads a file that was written when the format was made:
// backups must stay readable for ever.
func TestBackupFormat(t *testing.T) {
	path := filepath.Join("testdata", "format1.wbk")
	old, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *rewrite {
		old, err = smallBackup(t), os.WriteFile(path, smallBackup(t), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	oldInfo, oldNodes, _, err := readBackup(old)
	if err != nil {
		t.Fatal(err)
	}
	info, nodes, _, err := readBackup(smallBackup(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(info, oldInfo); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(nodes, oldNodes, cmp.Comparer(func(a, b store.Key) bool { return a == b })); diff != "" || len(nodes) != 7 {
		t.Errorf("%d nodes, %s", len(nodes), diff)
	}
}

// TestBackupDamaged alters each byte of a backup, and cuts it off everywhere.
func TestBackupDamaged(t *testing.T) {
	good := smallBackup(t)
	if _, _, sum, err := readBackup(good); err != nil || len(sum) != 64 {
		t.Fatal(sum, err)
	}
	for i := range good {
		for _, flip := range []byte{1 << (i % 8), 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			if _, _, _, err := readBackup(bad); !errors.Is(err, store.ErrBackupDamaged) {
				t.Fatalf("byte %d altered: %v", i, err)
			}
		}
		if _, _, _, err := readBackup(good[:i]); !errors.Is(err, store.ErrBackupCutOff) {
			t.Fatalf("cut off after %d: %v", i, err)
		}
	}
	if _, _, _, err := readBackup(append(bytes.Clone(good), 0)); !errors.Is(err, store.ErrBackupDamaged) {
		t.Errorf("with something behind it: %v", err)
	}
}

// TestBackupChunks writes more than fits into one chunk, and swaps two.
func TestBackupChunks(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	defer r.close()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		value := make([]byte, 10_000)
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		r.apply(set(fmt.Sprintf("/k%03d", i), string(value)))
	}
	r.apply(set("/huge", strings.Repeat("x", 5<<20)))
	b, err := store.NewBackup([]*store.Store{r.Store}, store.BackupInfo{Index: r.Frontier(), Groups: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var file bytes.Buffer
	if err := b.WriteTo(&file, nil); err != nil {
		t.Fatal(err)
	}
	_, nodes, _, err := readBackup(file.Bytes())
	if err != nil || len(nodes) != 301 {
		t.Fatalf("%d nodes: %v", len(nodes), err)
	}
	for i := range nodes {
		e, _, refused := r.Get(nodes[i].Key, false)
		if refused != nil || e.Node.Value != nodes[i].Value {
			t.Fatalf("%s: %v", nodes[i].Key, refused)
		}
	}
	blocks := chunkOffsets(file.Bytes())
	if len(blocks) < 3 {
		t.Fatalf("chunks at %v", blocks)
	}
	swapped := slices.Concat(file.Bytes()[:blocks[0]], file.Bytes()[blocks[1]:])
	if _, _, _, err := readBackup(swapped); !errors.Is(err, store.ErrBackupDamaged) {
		t.Errorf("a chunk is missing: %v", err)
	}
}

// chunkOffsets finds the blocks that chunks begin with.
func chunkOffsets(file []byte) (offsets []int) {
	magic := append(bytes.Clone(file[:8]), 'C')
	for at := 0; ; {
		i := bytes.Index(file[at:], magic)
		if i < 0 {
			return offsets
		}
		offsets = append(offsets, at+i)
		at += i + 1
	}
}

// TestBackupEnds closes the store and stops a backup that is being written.
func TestBackupEnds(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	r.apply(set("/a", "v"))
	take := func() *store.Backup {
		b, err := store.NewBackup([]*store.Store{r.Store}, store.BackupInfo{Index: r.Frontier(), Groups: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	stop := make(chan struct{})
	close(stop)
	b := take()
	if err := b.WriteTo(io.Discard, stop); !errors.Is(err, store.ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
	b.Close()
	b = take()
	closed := make(chan struct{})
	go func() { r.close(); close(closed) }()
	for errors.Is(r.Err(), nil) { // Close begins
		time.Sleep(time.Millisecond)
	}
	if err := b.WriteTo(io.Discard, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	b.Close()
	<-closed
	if _, err := store.NewBackup([]*store.Store{r.Store}, store.BackupInfo{Index: 3, Groups: 1}); err == nil {
		t.Error("a closed store gives a backup")
	}
}

func TestSeederRefuses(t *testing.T) {
	o := oneGroup(never)
	if _, err := store.NewSeeder(o); err == nil {
		t.Error("no directory")
	}
	o.Dir = t.TempDir()
	r := newReplica(t, t.TempDir(), o)
	r.close()
	if _, err := store.NewSeeder(r.opt); err == nil || !strings.Contains(err.Error(), "holds a store already") {
		t.Errorf("over a store: %v", err)
	}
	s, err := store.NewSeeder(o)
	if err != nil {
		t.Fatal(err)
	}
	n := store.SavedNode{Key: store.ParseKey("/late"), CreatedIndex: 4, ModifiedIndex: 4}
	if err := s.Add(&n); err == nil {
		t.Error("a node above the first index")
	}
	for _, key := range []string{"/b", "/a"} {
		n := store.SavedNode{Key: store.ParseKey(key), CreatedIndex: 1, ModifiedIndex: 1}
		if err := s.Add(&n); (err == nil) != (key == "/b") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := s.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Verify(o); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("what is left of it: %v", err)
	}
}
