package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

func set(key, value string) store.Command {
	return store.Command{Op: store.OpSet, Key: store.ParseKey(key), Value: value}
}

func oneGroup(flush time.Duration) store.Options {
	return store.Options{Groups: 1, FirstIndex: 3, FlushInterval: flush}
}

func snapshotOf(t *testing.T, r *replica) []byte {
	t.Helper()
	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var b bytes.Buffer
	if err := snap.WriteTo(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]store.Options{
		"no directory": {Groups: 1},
		"no groups":    {Dir: t.TempDir()},
		"group 4 of 4": {Dir: t.TempDir(), Group: 4, Groups: 4},
		"history":      {Dir: t.TempDir(), Groups: 1, History: -1},
		"interval":     {Dir: t.TempDir(), Groups: 1, FlushInterval: -1},
	} {
		if s, err := store.Open(o); err == nil {
			t.Errorf("%s: opened", name)
			s.Close()
		}
	}
}

// TestBigValues puts values into the store that Badger keeps in its value log.
func TestBigValues(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(time.Millisecond))
	defer func() { r.close() }()
	value := func(i int) string { return strings.Repeat(fmt.Sprintf("%07d ", i), 5<<20/8) }
	for i := range 8 {
		r.apply(set("/big/"+fmt.Sprint(i%2), value(i)))
	}
	check := func(what string) {
		t.Helper()
		e, _, refused := r.Get(store.ParseKey("/big"), true)
		if refused != nil {
			t.Fatal(refused)
		}
		for i, n := range e.Node.Nodes {
			if n.Value != value(6+i) {
				t.Errorf("%s: value %d is wrong", what, i)
			}
		}
		events, err := r.Events(4, 100, 100)
		if err != nil || len(events) != 8 {
			t.Fatalf("%s: %d events, %v", what, len(events), err)
		}
		for i, e := range events {
			if e.Node.Value != value(i) || i > 1 && e.Prev.Value != value(i-2) {
				t.Errorf("%s: event %d is wrong", what, i)
			}
		}
	}
	check("applied")
	r.reopen()
	check("reopened")
	r.crash()
	check("crashed")
	r.move()
	check("moved")
}

func TestLongKeys(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	defer func() { r.close() }()
	longest := "/" + strings.Repeat("k", 32_767)
	if res := r.apply(store.Command{Op: store.OpSet, Key: store.ParseKey(longest), HasTTL: true, TTL: 5}); res.Err != nil {
		t.Fatal(res.Err)
	}
	r.reopen()
	if _, _, refused := r.Get(store.ParseKey(longest), false); refused != nil {
		t.Error(refused)
	}
	for _, c := range []store.Command{
		set(longest+"k", ""),
		{Op: store.OpCreate, Key: store.ParseKey(longest + "k")},
		{Op: store.OpUpdate, Key: store.ParseKey(longest + "k")},
		{Op: store.OpDelete, Key: store.ParseKey(longest + "k")},
		{Op: store.OpCompareAndSwap, Key: store.ParseKey(longest + "k")},
		{Op: store.OpCompareAndDelete, Key: store.ParseKey(longest + "k")},
		{Op: store.OpCreateInOrder, Key: store.ParseKey(longest[:32_760])},
	} {
		res := r.apply(c)
		want := &store.Error{Code: store.CodeInvalidField, Cause: "the key is longer than 32768 bytes", Index: 4}
		if diff := cmp.Diff(want, res.Err); diff != "" {
			t.Errorf("operation %d: %s", c.Op, diff)
		}
	}
	if _, _, refused := r.Get(store.ParseKey(longest+"k"), false); refused == nil || refused.Code != store.CodeKeyNotFound {
		t.Errorf("get: %v", refused)
	}
}

// TestExpireMany lets more nodes expire at once than one command may.
func TestExpireMany(t *testing.T) {
	const keys = 10_000
	r := newReplica(t, t.TempDir(), oneGroup(5*time.Millisecond))
	defer func() { r.close() }()
	for i := range keys {
		c := set(fmt.Sprintf("/d%d/k%d", i%7, i), "v")
		c.HasTTL, c.TTL = true, int64(i%2)
		r.apply(c)
	}
	var counts []int
	lastOf := map[string]bool{}
	for i := 0; ; i++ {
		now, timed := r.Clock()
		if timed == 0 {
			break
		}
		step := int64(store.Tick)
		if len(counts) > 0 && counts[len(counts)-1] == 4096 {
			step = 1 // what is left over does not wait for the clock
		}
		res := r.apply(store.Command{Op: store.OpAdvance, Clock: now, Step: step})
		for _, e := range res.Expired {
			if lastOf[e.Node.Key.String()] {
				t.Fatalf("%s expired twice", e.Node.Key)
			}
			lastOf[e.Node.Key.String()] = true
		}
		counts = append(counts, len(res.Expired))
	}
	if diff := cmp.Diff([]int{4096, 904, 0, 0, 0, 4096, 904}, counts); diff != "" {
		t.Errorf("expired in steps: %s", diff)
	}
	if got := r.Stats().ExpireCount; got != keys {
		t.Errorf("%d expired", got)
	}
}

// TestReadersBesideApply reads, lists, looks back and takes snapshots while
// commands are applied and written.
func TestReadersBesideApply(t *testing.T) {
	const entries = 4000
	o := oneGroup(time.Millisecond)
	o.History = 200
	r := newReplica(t, t.TempDir(), o)
	defer func() { r.close() }()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, read := range []func(){
		func() { checkPair(t, r.Store) },
		func() { checkPair(t, r.Store) },
		func() { checkEvents(t, r.Store) },
		func() { checkSnapshot(t, r) },
	} {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					read()
				}
			}
		})
	}
	// Two files change together in one event only as a directory: /pair is
	// removed and made again, so that every tree has both files or neither.
	for i := range entries / 2 {
		r.apply(set("/pair/sub/value", fmt.Sprint(i)))
		r.apply(store.Command{Op: store.OpDelete, Key: store.ParseKey("/pair"), Recursive: true})
	}
	close(stop)
	readers.Wait()
}

// checkPair checks that a read sees one tree: the directory exists exactly if
// what is in it does, now and at an index.
func checkPair(t *testing.T, s *store.Store) {
	e, p, refused := s.Get(store.Key{}, true)
	if refused != nil {
		t.Error(refused)
		return
	}
	// Writes have even indexes (the first is 4), removals odd ones.
	checkTree(t, e.Node, p.Index)
	if e, refused := s.GetAt(store.Key{}, true, p.Index); refused == nil {
		checkTree(t, e.Node, p.Index)
	} else if refused.Code != store.CodeEventIndexCleared {
		t.Error(refused)
	}
}

func checkTree(t *testing.T, root *store.Node, index uint64) {
	there := len(root.Nodes) == 1
	if there != (index%2 == 0) {
		t.Errorf("at %d /pair is there: %v", index, there)
	}
	if there && (len(root.Nodes[0].Nodes) != 1 || len(root.Nodes[0].Nodes[0].Nodes) != 1) {
		t.Errorf("at %d /pair is incomplete", index)
	}
}

func checkEvents(t *testing.T, s *store.Store) {
	last := s.Frontier()
	events, err := s.Events(last-min(last, 100), last, 50)
	var cleared *store.Error
	if errors.As(err, &cleared) {
		return // others were faster
	}
	if err != nil {
		t.Error(err)
	}
	for i, e := range events {
		if i > 0 && e.Index != events[i-1].Index+1 {
			t.Errorf("event %d after %d", e.Index, events[i-1].Index)
		}
		if e.Action == store.ActionDelete && !e.Removed(store.ParseKey("/pair/sub/value")) {
			t.Errorf("event %d does not know what it removed", e.Index)
		}
	}
}

func checkSnapshot(t *testing.T, r *replica) {
	snap, err := r.Snapshot()
	if err != nil {
		t.Error(err)
		return
	}
	defer snap.Close()
	if err := snap.WriteTo(io.Discard, nil); err != nil {
		t.Error(err)
	}
}

// TestSnapshotIsOneMoment restores a snapshot that was written while the store
// went on, and compares it with the moment it was taken at.
func TestSnapshotIsOneMoment(t *testing.T) {
	o := oneGroup(time.Millisecond)
	o.History = 50
	r := newReplica(t, t.TempDir(), o)
	defer func() { r.close() }()
	for n := uint64(1); n < 2000; n++ {
		play(r.Store, n)
	}
	snap, err := r.Snapshot()
	r.must(err)
	defer snap.Close()
	want := r.dump()
	raft, index, hash := r.Digest()
	for n := uint64(2000); n < 6000; n++ {
		play(r.Store, n)
	}
	r.must(r.Flush())
	var b bytes.Buffer
	r.must(snap.WriteTo(&b, nil))
	if i, ra := snap.Position(); i != index || ra != raft {
		t.Errorf("snapshot at %d %d, taken at %d %d", i, ra, index, raft)
	}

	other := newReplica(t, t.TempDir(), o)
	defer func() { other.close() }()
	other.must(other.Restore(&b, nil))
	if r, i, h := other.Digest(); r != raft || i != index || h != hash {
		t.Errorf("digest %d %d %x, want %d %d %x", r, i, h, raft, index, hash)
	}
	if diff := cmp.Diff(want, other.dump()); diff != "" {
		t.Errorf("restored: %s", diff)
	}
	if got := other.Applied(); got != raft {
		t.Errorf("applied %d, want %d", got, raft)
	}
	for n := uint64(2000); n < 6000; n++ {
		play(other.Store, n)
	}
	compareDigests(t, r.Store, other.Store)
	if diff := cmp.Diff(r.dump(), other.dump()); diff != "" {
		t.Errorf("after the same commands: %s", diff)
	}
}

// TestBadSnapshots gives Restore everything but a good snapshot.
func TestBadSnapshots(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	defer func() { r.close() }()
	for i := range 30 {
		r.apply(set(fmt.Sprintf("/d%d/k%d", i%3, i), fmt.Sprint(i)))
	}
	good := snapshotOf(t, r)
	foreign := newReplica(t, t.TempDir(), store.Options{Group: 1, Groups: 4, FirstIndex: 3})
	bad := map[string][]byte{
		"empty":            {},
		"magic":            append([]byte("NOPE"), good[4:]...),
		"format":           append([]byte("WITN\x09"), good[5:]...),
		"of another group": snapshotOf(t, foreign),
	}
	foreign.close()
	for n := 1; n < len(good); n += len(good)/12 + 1 {
		bad[fmt.Sprintf("cut at %d", n)] = good[:n]
		flipped := bytes.Clone(good)
		flipped[n] ^= 0x20
		bad[fmt.Sprintf("flipped at %d", n)] = flipped
	}
	bad["without its last byte"] = good[:len(good)-1]

	r.apply(set("/mine", "kept"))
	want := r.dump()
	for name, b := range bad {
		if err := r.Restore(bytes.NewReader(b), nil); !errors.Is(err, store.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(want, r.dump()); diff != "" {
		t.Errorf("a bad snapshot changed the store: %s", diff)
	}
	if res := r.apply(set("/still", "works")); res.Event == nil {
		t.Error(res.Err)
	}
	r.reopen()
	if dirs, _ := filepath.Glob(filepath.Join(r.opt.Dir, "db-*")); len(dirs) != 1 {
		t.Errorf("left over: %v", dirs)
	}
}

// TestRestoreBesideReaders replaces the store under readers.
func TestRestoreBesideReaders(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(time.Millisecond))
	defer func() { r.close() }()
	r.apply(set("/a/x", "old"))
	snapshot := snapshotOf(t, r)
	held, err := r.Snapshot()
	r.must(err)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				e, _, refused := r.Get(store.ParseKey("/a"), true)
				if refused != nil || len(e.Node.Nodes) == 0 {
					t.Error("the directory was gone for a moment", refused)
					return
				}
			}
		})
	}
	for i := range 5 {
		for j := range 20 {
			r.apply(set("/a/x", fmt.Sprint("new ", i, j)))
		}
		if err := r.Restore(bytes.NewReader(snapshot), nil); err != nil {
			t.Fatal(err)
		}
		r.log = r.log[:r.Applied()]
		if e, _, _ := r.Get(store.ParseKey("/a/x"), false); e.Node.Value != "old" {
			t.Errorf("value is %q", e.Node.Value)
		}
	}
	close(stop)
	readers.Wait()
	var b bytes.Buffer
	r.must(held.WriteTo(&b, nil))
	held.Close()
	if !bytes.Equal(b.Bytes(), snapshot) {
		t.Error("a snapshot of the replaced database is not what it was")
	}
	r.reopen()
	if e, _, _ := r.Get(store.ParseKey("/a/x"), false); e.Node.Value != "old" {
		t.Errorf("after reopening the value is %q", e.Node.Value)
	}
}

func TestSnapshotStops(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	r.apply(set("/a", "v"))
	stopped := make(chan struct{})
	close(stopped)
	snap, err := r.Snapshot()
	r.must(err)
	if err := snap.WriteTo(io.Discard, stopped); !errors.Is(err, store.ErrStopped) {
		t.Errorf("write: %v", err)
	}
	if err := r.Restore(bytes.NewReader(snapshotOf(t, r)), stopped); !errors.Is(err, store.ErrStopped) {
		t.Errorf("restore: %v", err)
	}
	full := errors.New("full")
	if err := snap.WriteTo(writerFunc(func([]byte) (int, error) { return 0, full }), nil); !errors.Is(err, full) {
		t.Errorf("write error: %v", err)
	}
	// A snapshot that was never closed does not keep the store from closing.
	r.close()
	if err := snap.WriteTo(io.Discard, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	snap.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAfterClose(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	r.apply(set("/dir/a", "v"))
	r.apply(store.Command{Op: store.OpDelete, Key: store.ParseKey("/dir"), Recursive: true})
	events, err := r.Events(5, 5, 1)
	r.must(err)
	r.close()
	r.close()
	if res := r.Apply(3, &store.Command{Op: store.OpTick}); !errors.Is(res.Failure, store.ErrClosed) {
		t.Errorf("apply: %v", res.Failure)
	}
	if _, _, refused := r.Get(store.Key{}, true); refused == nil || refused.Code != store.CodeRaftInternal {
		t.Errorf("get: %v", refused)
	}
	if _, err := r.Events(0, 9, 9); !errors.Is(err, store.ErrClosed) {
		t.Errorf("events: %v", err)
	}
	if _, err := r.Snapshot(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("snapshot: %v", err)
	}
	if err := r.Restore(bytes.NewReader(nil), nil); err == nil {
		t.Error("restored")
	}
	if !errors.Is(r.Err(), store.ErrClosed) {
		t.Errorf("err: %v", r.Err())
	}
	if !events[0].Removed(store.ParseKey("/dir/a")) {
		t.Error("an event of a closed store denies what it removed")
	}
	if r.Frontier() != 5 || r.Applied() != 2 {
		t.Errorf("frontier %d, applied %d", r.Frontier(), r.Applied())
	}
}

// TestEntriesInOrder checks that a log entry cannot be applied twice.
func TestEntriesInOrder(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	c := set("/a", "v")
	r.apply(c)
	if res := r.Apply(1, &c); res.Failure == nil {
		t.Error("an entry was applied twice")
	}
	select {
	case <-r.Failed():
	default:
		t.Error("the store goes on")
	}
	if err := r.Store.Close(); err == nil {
		t.Error("closed without a word")
	}
}

// TestDamage opens what is left of stores that lost something.
func TestDamage(t *testing.T) {
	db := func(dir, pattern string) []string {
		files, err := filepath.Glob(filepath.Join(dir, "db-*", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s in %s: %v", pattern, dir, err)
		}
		return files
	}
	cases := map[string]func(dir string) error{
		"CURRENT is gone":       func(dir string) error { return os.Remove(filepath.Join(dir, "CURRENT")) },
		"CURRENT is garbage":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("??"), 0o600) },
		"CURRENT names another": func(dir string) error { return os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("db-9\n"), 0o600) },
		"the database is gone":  func(dir string) error { return os.RemoveAll(filepath.Join(dir, "db-1")) },
		"the manifest is gone":  func(dir string) error { return os.Remove(db(dir, "MANIFEST")[0]) },
		"the manifest is garbage": func(dir string) error {
			return os.WriteFile(db(dir, "MANIFEST")[0], []byte("garbage that is long enough"), 0o600)
		},
		"a table is gone":                 func(dir string) error { return os.Remove(db(dir, "*.sst")[0]) },
		"a table is cut":                  func(dir string) error { return os.Truncate(db(dir, "*.sst")[0], 10) },
		"a table is empty":                func(dir string) error { return os.Truncate(db(dir, "*.sst")[0], 0) },
		"the index of a table is damaged": func(dir string) error { return flipFromEnd(db(dir, "*.sst")[0], 60) },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, t.TempDir(), oneGroup(never))
			for n := uint64(1); n < 200; n++ {
				play(r.Store, n)
			}
			r.close()
			if err := damage(r.opt.Dir); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(r.opt)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("open: %v", err)
			}
		})
	}
}

// flipFromEnd flips a bit of a file.
func flipFromEnd(path string, offset int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)-offset] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// TestNotDamaged opens stores that something is in the way of.
func TestNotDamaged(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	r.apply(set("/a", "v"))
	if _, err := store.Open(r.opt); err == nil || errors.Is(err, store.ErrDamaged) {
		t.Errorf("opened twice: %v", err)
	}
	r.close()
	other := r.opt
	other.Groups = 4
	if _, err := store.Open(other); err == nil || errors.Is(err, store.ErrDamaged) {
		t.Errorf("opened as another group: %v", err)
	}
	// What a Restore that was cut short left behind is removed.
	stray := filepath.Join(r.opt.Dir, "db-2")
	if err := os.MkdirAll(filepath.Join(stray, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.open()
	if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stray database: %v", err)
	}
	r.close()
}

// TestUnfinished opens a directory in which the first Open was cut short
// before it wrote CURRENT: it holds nothing and is made anew.
func TestUnfinished(t *testing.T) {
	r := newReplica(t, t.TempDir(), oneGroup(never))
	r.close()
	if err := os.Remove(filepath.Join(r.opt.Dir, "CURRENT")); err != nil {
		t.Fatal(err)
	}
	r.open()
	if res := r.apply(set("/a", "v")); res.Index != 4 {
		t.Errorf("index %d", res.Index)
	}
	r.close()
}

// TestShrinkHistory opens a store with fewer events to keep than it has.
func TestShrinkHistory(t *testing.T) {
	for _, groups := range []int{1, 4} {
		o := oneGroup(never)
		o.Groups = groups
		r := newReplica(t, t.TempDir(), o)
		for i := range 3000 {
			c := set("/a", fmt.Sprint(i))
			c.Floor = uint64(i * 7)
			r.apply(c)
		}
		all, err := r.Events(0, r.Frontier(), 1<<20)
		r.must(err)
		_, _, hash := r.Digest()
		r.opt.History = 10
		r.reopen()
		if got, want := r.oldest(), all[2990].Index; got != want {
			t.Errorf("%d groups: oldest is %d, want %d", groups, got, want)
		}
		kept, err := r.Events(r.oldest(), r.Frontier(), 100)
		r.must(err)
		if diff := sameEvents(all[2990:], kept); diff != "" {
			t.Errorf("%d groups: %s", groups, diff)
		}
		if _, _, h := r.Digest(); h != hash {
			t.Error("the history kept has changed the hash")
		}
		r.close()
	}
}
