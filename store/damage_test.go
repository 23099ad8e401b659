package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bitRot is what happens to a file on a disk while nobody looks.
type bitRot struct {
	name string
	do   func(*rand.Rand, []byte) []byte
}

func bitRots() []bitRot {
	flip := func(one int) func(*rand.Rand, []byte) []byte {
		return func(rng *rand.Rand, b []byte) []byte {
			for range max(1, len(b)/one) {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			return b
		}
	}
	return []bitRot{
		{"one bit", flip(1 << 40)},
		{"one in 100,000", flip(100_000)},
		{"one in 1,000", flip(1_000)},
		{"cut by 1", func(_ *rand.Rand, b []byte) []byte { return b[:len(b)-1] }},
		{"cut by up to 1,024", func(rng *rand.Rand, b []byte) []byte { return b[:max(0, len(b)-1-rng.IntN(1024))] }},
		{"a page of zeros", func(rng *rand.Rand, b []byte) []byte {
			at := rng.IntN(len(b)) &^ 4095
			clear(b[at:min(at+4096, len(b))])
			return b
		}},
		{"gone", func(*rand.Rand, []byte) []byte { return nil }},
	}
}

// TestBitRot damages every kind of file of a store that was killed, and of one that was closed. It must be refused as
// damaged, or be what it was: no key is missing in silence.
func TestBitRot(t *testing.T) {
	for _, killed := range []bool{true, false} {
		o, whole, hash := aged(t, killed)
		files, err := os.ReadDir(filepath.Join(o.Dir, "db-1"))
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for i, f := range files {
			for j, rot := range bitRots() {
				name := fmt.Sprintf("killed=%v/%s/%s", killed, f.Name(), rot.name)
				t.Run(name, func(t *testing.T) {
					rng := rand.New(rand.NewPCG(uint64(i), uint64(j))) //nolint:gosec // must be repeatable
					if !rotten(t, o, filepath.Join("db-1", f.Name()), rng, rot) {
						t.Skip("nothing was damaged")
					}
					s, err := Open(o)
					if errors.Is(err, ErrDamaged) {
						refused++
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					if _, _, now := s.Digest(); now != hash || !bytes.Equal(dumpOf(t, s), whole) {
						t.Error("it is not what it was")
					}
				})
				o.Dir = restored(t, o.Dir)
			}
		}
		if refused == 0 {
			t.Error("nothing was ever refused")
		}
	}
}

// aged makes a store with tables and logs in a directory, killed or closed, and returns what is in it.
func aged(t *testing.T, killed bool) (o Options, dump []byte, hash uint64) {
	t.Helper()
	o = Options{Dir: filepath.Join(t.TempDir(), "live"), Groups: 1, FirstIndex: 3}
	s := openFor(t, o)
	value := func(n int) string {
		rng := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // must be repeatable
		b := make([]byte, 512)
		for i := range b {
			b[i] = 'a' + byte(rng.IntN(26))
		}
		return string(b)
	}
	for n := range 18_000 {
		mustApply(t, s, Command{Op: OpSet, Key: ParseKey(fmt.Sprintf("/dir%d/%d", n%7, n%6_000)), Value: value(n)})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	_, _, hash = s.Digest()
	dump = dumpOf(t, s)
	if killed {
		waitFor(t, func() bool { // for the witness
			s.kv.db.testifying.Lock()
			defer s.kv.db.testifying.Unlock()
			return s.kv.db.said.table == s.kv.db.newestTable()
		})
		o.Dir = copied(t, o.Dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Copies of the value log would be nothing but zeros.
	logs, err := filepath.Glob(filepath.Join(o.Dir, "db-1", "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		if err := os.Truncate(path, min(8192, sizeOf(t, path))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(o.Dir+".whole", os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	return o, dump, hash
}

// TestManifestGoneAfterPowerCut: what the witness knew was lost with the power, and the manifest afterwards. Badger would go
// on with what its log has (storm 3×4, seed 9552).
func TestManifestGoneAfterPowerCut(t *testing.T) {
	o, _, _ := aged(t, true)
	for _, name := range []string{witnessFile, "MANIFEST"} {
		if err := os.Remove(filepath.Join(o.Dir, "db-1", name)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(o)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v", err)
	}
}

// The witness of a closed database knows of the tables that closing has made.
func TestWitnessOfClosed(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1}
	s := openFor(t, o)
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/k"), Value: "v"})
	dir := s.kv.db.dir
	mustClose(t, s)
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, highest := m.live()
	f, said, err := openWitness(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if said.table != highest || highest == 0 {
		t.Errorf("it knows of table %d, the manifest of %d", said.table, highest)
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for nothing")
		}
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// restored puts what was kept beside a directory in its place.
func restored(t *testing.T, dir string) string {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(dir+".whole")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rotten damages a file and reports whether it did.
func rotten(t *testing.T, o Options, file string, rng *rand.Rand, rot bitRot) bool {
	t.Helper()
	path := filepath.Join(o.Dir, file)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) == 0 {
		return false
	}
	after := rot.do(rng, bytes.Clone(before))
	if after == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, after, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return !bytes.Equal(before, after)
}

// TestRotUnderway damages the tables of a store in use. The store must stop by itself and not be opened again.
func TestRotUnderway(t *testing.T) {
	o, _, _ := aged(t, false)
	s := openFor(t, o)
	tables, err := filepath.Glob(filepath.Join(o.Dir, "db-1", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%d tables: %v", len(tables), err)
	}
	for _, path := range tables {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("rot"), 100); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	s.scrub(s.kv.db, 0)
	select {
	case <-s.Failed():
	default:
		t.Fatal("nothing was noticed")
	}
	if err := s.Close(); !errors.Is(err, ErrDamaged) {
		t.Errorf("close: %v", err)
	}
	if _, err := Open(o); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("open: %v", err)
	}
}

// TestCondemned rebuilds a store that must not be used.
func TestCondemned(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, Must: true}
	if _, err := Open(o); !errors.Is(err, ErrDamaged) {
		t.Fatalf("no store where one must be: %v", err)
	}
	if err := Condemn(o.Dir, "bad luck"); err != nil {
		t.Fatal(err)
	}
	o.Rebuild = true
	s := openFor(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Rebuild = false
	if _, err := Open(o); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "bad luck") {
		t.Fatalf("a store half rebuilt: %v", err)
	}
	o.Rebuild = true
	s = openFor(t, o)
	if err := s.Acquit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Rebuild = false
	s = openFor(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStrayTable opens a store beside what a crash has left of a table that was being made.
func TestStrayTable(t *testing.T) {
	o, whole, _ := aged(t, false)
	if err := os.WriteFile(filepath.Join(o.Dir, "db-1", "000999.sst"), make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openFor(t, o)
	defer s.Close()
	if !bytes.Equal(dumpOf(t, s), whole) {
		t.Error("it is not what it was")
	}
}

// TestDiskTroubleIsNoDamage: a store that may be sound is not to be set aside.
func TestDiskTroubleIsNoDamage(t *testing.T) {
	for _, err := range []error{syscall.EIO, fmt.Errorf("while sync file: x, error: %v", syscall.EIO), &fs.PathError{Op: "write", Err: syscall.ENOSPC}} { //nolint:errorlint // as Badger does
		if errors.Is(openFailed("db-1", err), ErrDamaged) {
			t.Errorf("%v is taken for damage", err)
		}
	}
	if !errors.Is(openFailed("db-1", errors.New("manifest has checksum mismatch")), ErrDamaged) {
		t.Error("damage is not taken for it")
	}
}
