package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
)

// noise does not compress, so that so many values fill a table.
func noise(random *rand.ChaCha8, size int) string {
	b := make([]byte, size)
	_, _ = random.Read(b) // it cannot fail
	return string(b)
}

// written is what was written to a store: the key and the hash of the value of each log position from 1 on.
type written []struct {
	key  string
	hash uint64
}

// megabytes sets values of 100 KB until so many megabytes are written.
func (w *written) megabytes(t *testing.T, s *Store, n int) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{byte(len(*w)), byte(len(*w) >> 8)})
	for i := range n * 10 {
		key, value := fmt.Sprintf("/d/k%d", random.Uint64()%300), noise(random, 100_000)
		if r := s.Apply(uint64(len(*w))+1, &Command{Op: OpSet, Key: ParseKey(key), Value: value}); r.Failure != nil {
			t.Fatal(r.Failure)
		}
		*w = append(*w, struct {
			key  string
			hash uint64
		}{key, xxhash.Sum64String(value)})
		if i%20 == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

// compare checks that the store holds what was written.
func (w *written) compare(t *testing.T, s *Store) {
	t.Helper()
	if s.Applied() != uint64(len(*w)) {
		t.Errorf("it holds what was written up to %d, not %d", s.Applied(), len(*w))
	}
	want := map[string]uint64{}
	for _, e := range *w {
		want[e.key] = e.hash
	}
	for key, hash := range want {
		e, _, err := s.Get(ParseKey(key), false)
		if err != nil {
			t.Errorf("%s: %v", key, err)
		} else if xxhash.Sum64String(e.Node.Value) != hash {
			t.Errorf("%s has another value", key)
		}
	}
}

// hinder takes the turn of compactions until release is called.
func hinder(c *compactions) (release func()) {
	const stranger = 999
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.by != nobody {
		c.turn.Wait()
	}
	c.by = stranger
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.by = nobody
		c.turn.Broadcast()
	}
}

// loseTable makes Badger lose the first tables of its next compaction: the files are
// there already.
func loseTable(t *testing.T, s *Store, w *written, tables int) {
	t.Helper()
	db := s.kv.db
	release := hinder(db.heard.compactions)
	w.megabytes(t, s, 48)
	waitFor(t, func() bool {
		logs, err := filepath.Glob(filepath.Join(db.dir, "*.mem"))
		return err == nil && len(logs) == 1
	})
	next := db.newestTable() + 1
	for number := next; number < next+uint64(tables); number++ {
		if err := os.WriteFile(tablePath(db.dir, number), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	release()
	select {
	case <-s.Failed():
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was noticed")
	}
}

// thaw ends what a closed store leaves behind that has lost a table. Its
// directory must not be used any more.
func thaw(t *testing.T, s *Store) {
	t.Helper()
	c := s.kv.db.heard.compactions
	files, err := listTables(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	for number, full := range files {
		if !full { // loseTable's
			if err := os.Remove(tablePath(c.dir, number)); err != nil {
				t.Error(err)
			}
		}
	}
	c.mu.Lock()
	c.db, c.closing = nil, true
	c.turn.Broadcast()
	c.mu.Unlock()
	if err := s.kv.db.badger.Close(); err != nil {
		t.Error(err)
	}
}

// A table that Badger could not create when it compacted is missed, nothing is read
// of what is left, and the next start takes the compaction back.
func TestLostTableIsTakenBack(t *testing.T) {
	for name, tables := range map[string]int{"one": 1, "all": 200} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), Groups: 1, History: 10, CacheBytes: 1}
			s := openFor(t, o)
			var w written
			if tables == 1 {
				w.megabytes(t, s, 44) // some are compacted before
			}
			loseTable(t, s, &w, tables)
			t.Log(s.Err())
			if _, _, err := s.Get(ParseKey("/d/k1"), false); err == nil {
				t.Error("it is still read")
			}
			if err := s.Close(); err == nil || errors.Is(err, ErrDamaged) {
				t.Error("closed with", err)
			}
			o.Dir = copied(t, o.Dir)
			thaw(t, s)
			s = openFor(t, o)
			w.compare(t, s)
			w.megabytes(t, s, 10)
			mustClose(t, s)
			if _, err := Verify(o); err != nil {
				t.Error(err)
			}
		})
	}
}

// A table that is lost while nothing kept the old ones is damage.
func TestLostTableThatCannotBeTakenBack(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, History: 10}
	s := openFor(t, o)
	c := s.kv.db.heard.compactions
	c.mu.Lock()
	c.db = nil // as before it is open
	c.mu.Unlock()
	var w written
	loseTable(t, s, &w, 1)
	if err := s.Close(); !errors.Is(err, ErrDamaged) {
		t.Error("closed with", err)
	}
	if _, err := Open(o); !errors.Is(err, ErrDamaged) {
		t.Error("opened with", err)
	}
	thaw(t, s)
}

// Nor is it taken back to a table that is damaged.
func TestLostTableAndDamage(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, History: 10}
	s := openFor(t, o)
	var w written
	loseTable(t, s, &w, 1)
	_ = s.Close() // tells of the failure again
	o.Dir = copied(t, o.Dir)
	db := databaseDir(o.Dir, s.seq)
	thaw(t, s)
	back, err := planTakeBack(db)
	if err != nil {
		t.Fatal(err)
	}
	last := back.set.Changes[len(back.set.Changes)-1]
	path := tablePath(db, last.Id)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrDamaged) {
		t.Error("opened with", err)
	}
}

// A table is missed by the number of tables, also when the manifest is written anew.
func TestTablesAreCounted(t *testing.T) {
	flushed := func(numbers ...uint64) *pb.ManifestChangeSet {
		set := &pb.ManifestChangeSet{}
		for _, number := range numbers {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: number})
		}
		return set
	}
	compacted := func(numbers ...uint64) *pb.ManifestChangeSet {
		set := flushed(numbers...)
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: 9, Op: pb.ManifestChange_DELETE})
		return set
	}
	type sets = []*pb.ManifestChangeSet
	for _, c := range []struct {
		name string
		anew bool // what there is afterwards is a manifest of its own
		then sets
		lost bool
	}{
		{"one of two", false, sets{compacted(11)}, true},
		{"both", false, sets{compacted(11, 12)}, false},
		{"one, and a memtable", false, sets{flushed(13), compacted(11), flushed(14)}, true},
		{"both, named anew", true, sets{flushed(8, 11, 12)}, false},
		{"one of two, named anew", true, sets{flushed(8, 12)}, true},
		{"both, after what was named anew", true, sets{flushed(8, 9), compacted(11, 12)}, false},
		{"one of two, after what was named anew", true, sets{flushed(8, 9), compacted(11)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeManifest(t, dir, sets{flushed(8, 9)})
			watch := newCompactions(dir, newFailed(), func() {})
			close(watch.open)
			for _, keys := range []uint64{5, 0, 7} { // of none no table is made
				watch.follow("[%d] LOG Compact. Added %d keys. Skipped", []any{1, keys})
			}
			if c.anew {
				other := t.TempDir()
				writeManifest(t, other, c.then)
				if err := os.Rename(manifestPath(other), manifestPath(dir)); err != nil {
					t.Fatal(err)
				}
			} else {
				appendSets(t, dir, c.then)
			}
			watch.follow("[Compactor: %d] Compaction for level: %d DONE", []any{1, 5})
			if err := watch.complete(); (err != nil) != c.lost {
				t.Error(err)
			}
		})
	}
}

func writeManifest(t *testing.T, dir string, sets []*pb.ManifestChangeSet) {
	t.Helper()
	if err := os.WriteFile(manifestPath(dir), make([]byte, manifestMagic), 0o600); err != nil {
		t.Fatal(err)
	}
	appendSets(t, dir, sets)
}

func appendSets(t *testing.T, dir string, sets []*pb.ManifestChangeSet) {
	t.Helper()
	for _, set := range sets {
		m, err := readManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := appendManifest(dir, m.end, set); err != nil {
			t.Fatal(err)
		}
	}
}

// What is compacted while a database is being opened waits until it is open, and the old tables are kept.
func TestCompactionWaitsForOpen(t *testing.T) {
	dir := t.TempDir()
	db, err := badger.OpenManaged(badgerOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		roomy := false
		c := newCompactions(dir, newFailed(), func() { roomy = true })
		begun := make(chan struct{})
		go func() {
			c.follow("[%d] LOG Compact. Added %d keys. Skipped", []any{1, uint64(5)})
			close(begun)
		}()
		synctest.Wait()
		c.opened(db)
		<-begun
		if len(c.anchors) != 1 || !roomy {
			t.Errorf("%d anchors, room made: %v", len(c.anchors), roomy)
		}
		c.release()

		// One whose opening waits for it in turn goes on some time.
		c = newCompactions(dir, newFailed(), func() {})
		c.follow("[%d] LOG Compact. Added %d keys. Skipped", []any{1, uint64(5)})
	})
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// While tables come and go none is taken for lost, and none is kept that is not needed.
func TestNoTableIsTakenForLost(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, History: 10}
	s := openFor(t, o)
	var w written
	w.megabytes(t, s, 100)
	nothingElse := func(dir string) bool {
		m, err := readManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		live, _ := m.live()
		files, err := listTables(dir)
		if err != nil {
			t.Fatal(err)
		}
		return maps.Equal(files, everyOne(live))
	}
	waitFor(t, func() bool { return nothingElse(s.kv.db.dir) })
	m, err := readManifest(s.kv.db.dir)
	if err != nil {
		t.Fatal(err)
	}
	compacted := 0
	for _, set := range m.sets {
		if compacts(set) {
			compacted++
		}
	}
	if compacted == 0 {
		t.Error("nothing was compacted")
	}
	w.megabytes(t, s, 20) // some are compacted while it is closed
	dir := s.kv.db.dir
	mustClose(t, s)
	if logs, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(logs) > 0 {
		t.Errorf("%s left behind, %v", logs, err)
	}
	if !nothingElse(dir) {
		t.Error("there are other files than those of the tables")
	}
	s = openFor(t, o)
	defer mustClose(t, s)
	w.compare(t, s)
}

// everyOne returns what listTables returns if the files are those of all tables.
func everyOne(all tables) tableFiles {
	files := tableFiles{}
	for number := range all {
		files[number] = true
	}
	return files
}

// What is taken back are the last compactions, as far as the old tables are there.
func TestPlanTakeBack(t *testing.T) {
	flush := func(number uint64) *pb.ManifestChangeSet {
		return &pb.ManifestChangeSet{Changes: []*pb.ManifestChange{{Id: number}}}
	}
	compaction := func(level uint32, from []uint64, to ...uint64) *pb.ManifestChangeSet {
		set := &pb.ManifestChangeSet{}
		for _, number := range to {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: number, Level: level})
		}
		for _, number := range from {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: number, Op: pb.ManifestChange_DELETE})
		}
		return set
	}
	type numbers = []uint64
	sets := []*pb.ManifestChangeSet{
		flush(1), flush(2), compaction(6, numbers{1, 2}, 3, 5), flush(6), compaction(6, numbers{6, 3}, 7), flush(8),
	}
	for _, c := range []struct {
		name  string
		files numbers
		want  string // the level of each table afterwards, or nothing
	}{
		{"all is well", numbers{5, 7, 8}, ""},
		{"nobody has looked whether all is well", numbers{1, 2, 3, 5, 6, 7, 8}, "1:0 2:0 6:0 8:0"},
		{"one was lost, and nothing was kept", numbers{4, 5, 7, 8}, ""},
		{"the last compaction", numbers{3, 4, 5, 6, 7, 8}, "3:6 5:6 6:0 8:0"},
		{"both", numbers{1, 2, 3, 4, 5, 6, 7, 8}, "1:0 2:0 6:0 8:0"},
		{"not one before another that cannot be", numbers{1, 2, 4, 5, 7, 8}, ""},
		{"one that is named is not there", numbers{3, 5, 6, 8}, "3:6 5:6 6:0 8:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeManifest(t, dir, sets)
			for _, number := range c.files {
				if err := os.WriteFile(tablePath(dir, number), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			back, err := planTakeBack(dir)
			if err != nil {
				t.Fatal(err)
			}
			if back == nil {
				if c.want != "" {
					t.Error("nothing is taken back")
				}
				return
			}
			if err := appendManifest(dir, back.end, back.set); err != nil {
				t.Fatal(err)
			}
			m, err := readManifest(dir)
			if err != nil {
				t.Fatal(err)
			}
			live, _ := m.live()
			var got []string
			for _, number := range slices.Sorted(maps.Keys(live)) {
				got = append(got, fmt.Sprintf("%d:%d", number, live[number].Level))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("there are %s, not %s", s, c.want)
			}
		})
	}
}
