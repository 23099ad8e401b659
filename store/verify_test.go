package store

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filled makes a store with a bit of everything, closed.
func filled(t *testing.T) Options {
	t.Helper()
	o := Options{Dir: t.TempDir(), Groups: 1, FirstIndex: 3}
	s := openFor(t, o)
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a/b"), Value: "1"})
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a/c"), Value: "2", HasTTL: true, TTL: 100})
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a/b"), Value: "3"})
	mustApply(t, s, Command{Op: OpCreate, Key: ParseKey("/d"), Dir: true})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestVerify(t *testing.T) {
	o := filled(t)
	r, err := Verify(o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Nodes != 4 || r.Directories != 2 || r.WithTTL != 1 || r.Events != 4 || r.Index != 7 || r.RaftIndex != 4 || r.Hash == 0 {
		t.Errorf("%+v", r)
	}
	s := openFor(t, o)
	defer s.Close()
	if _, _, hash := s.Digest(); hash != r.Hash {
		t.Error("looking has changed it")
	}
	if _, err := Verify(o); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("one that is in use: %v", err)
	}
}

// TestVerifyFinds damages what a store is made of, a place at a time.
func TestVerifyFinds(t *testing.T) {
	k := ParseKey("/a/c")
	for name, damage := range map[string]struct {
		change func(s *Store, h *head) []mutation
		want   string
	}{
		"a directory is gone": {func(*Store, *head) []mutation {
			return []mutation{{nodePlace(ParseKey("/a")), version{index: 7, gone: true}}}
		}, "is in no directory"},
		"a note is gone": {func(s *Store, _ *head) []mutation {
			return []mutation{{queueKey(noteOf(s, k), k), version{index: 7, gone: true}}}
		}, "is not in the queue"},
		"a node is gone": {func(*Store, *head) []mutation {
			return []mutation{{nodePlace(k), version{index: 7, gone: true}}}
		}, "is not to expire then"},
		"the clock is ahead of the queue": {func(_ *Store, h *head) []mutation {
			h.sweep = 1 << 60
			return nil
		}, "never will"},
		"an event is gone": {func(s *Store, _ *head) []mutation {
			events := eventsOnDisk(t, s)
			writeEntry(t, s, s.kv.db.stretchEntry(append(events[:2:2], events[3:]...), metaWindowEnd))
			return nil
		}, "the ledger says 4 from 4 to 7"},
		"a stretch of the history is gone": {func(s *Store, _ *head) []mutation {
			writeEntry(t, s, entry{place: historyKey(7), version: s.kv.db.ledger + 1, gone: true})
			return nil
		}, "has 0 events"},
		"a stretch of the history is none": {func(s *Store, _ *head) []mutation {
			writeEntry(t, s, entry{place: historyKey(7), version: s.kv.db.ledger + 1, value: []byte("\x07\xff")})
			return nil
		}, "read history: malformed"},
		"a node is of the future": {func(*Store, *head) []mutation {
			r := record{created: 99, modified: 99}
			return []mutation{{nodePlace(ParseKey("/x")), version{index: 7, value: r.encode(7)}}}
		}, "was created at 99"},
		"a node is no node": {func(*Store, *head) []mutation {
			return []mutation{{nodePlace(ParseKey("/x")), version{index: 7, value: "\xff"}}}
		}, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			o := filled(t)
			s := openFor(t, o)
			h := s.kv.current()
			staged := damage.change(s, &h)
			h.raftIndex++ // so that it is written
			s.kv.publish(staged, h)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(o)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), damage.want) {
				t.Errorf("%v does not say %q", err, damage.want)
			}
		})
	}
}

// eventsOnDisk returns the history as the database has it.
func eventsOnDisk(t testing.TB, s *Store) (events []past) {
	t.Helper()
	_, err := s.kv.db.history(0, math.MaxUint64, func(index uint64, trace string) bool {
		events = append(events, past{index: index, trace: trace})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func writeEntry(t testing.TB, s *Store, e entry) {
	t.Helper()
	batch := s.kv.db.badger.NewManagedWriteBatch()
	if err := errors.Join(e.addTo(batch), batch.Flush()); err != nil {
		t.Fatal(err)
	}
}

func noteOf(s *Store, k Key) int64 {
	v, err := s.kv.latest()
	if err != nil {
		panic(err)
	}
	defer v.release()
	r, _, err := v.record(k, v.head.frontier)
	if err != nil {
		panic(err)
	}
	return r.deadline
}

// TestVerifyFindsFlippedBits alters a table where the keys are.
func TestVerifyFindsFlippedBits(t *testing.T) {
	o := filled(t)
	tables, err := filepath.Glob(filepath.Join(o.Dir, "db-1", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, table := range tables {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		b[5] ^= 0x10 // in the first block
		if err := os.WriteFile(table, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(o); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%v", err)
	}
}

// TestReseed lets a store begin another log with what it has. Versions that a
// torn commit has left behind must not turn up in it.
func TestReseed(t *testing.T) {
	for name, torn := range map[string]bool{"closed in order": false, "after a torn commit": true} {
		t.Run(name, func(t *testing.T) {
			o := filled(t)
			s := openFor(t, o)
			before := dumpOf(t, s)
			if torn {
				// One that the log of a quorum had, and this member's has not.
				mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a/ghost"), Value: "boo"})
				s.commit.committing.Lock()
				if err := s.kv.db.write(s.kv.rotate(), nil); err != nil {
					t.Fatal(err)
				}
				s.commit.fail(errors.New("power cut"))
				s.commit.committing.Unlock()
				if err := s.Close(); err == nil {
					t.Fatal("the store closed as if nothing had happened")
				}
				s = openFor(t, o)
			}
			for range 2 { // the second time nothing is left to do
				if err := s.Reseed("again"); err != nil {
					t.Fatal(err)
				}
			}
			if s.Applied() != 0 || s.Seed() != "again" {
				t.Fatalf("applied %d, seed %q", s.Applied(), s.Seed())
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openFor(t, o)
			if s.Applied() != 0 || s.Seed() != "again" || !bytes.Equal(dumpOf(t, s), before) {
				t.Fatalf("after a restart: applied %d, seed %q", s.Applied(), s.Seed())
			}
			for range 3 {
				mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/other"), Value: "v"})
			}
			if _, _, refused := s.Get(ParseKey("/a/ghost"), false); refused == nil {
				t.Error("what was torn off has come back")
			}
			if events, err := s.Events(4, 100, 100); err != nil || len(events) != 7 {
				t.Errorf("a history of %d: %v", len(events), err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(o); err != nil {
				t.Error(err)
			}
		})
	}
}

// dumpOf is a backup of the store at its frontier.
func dumpOf(t *testing.T, s *Store) []byte {
	t.Helper()
	b, err := NewBackup([]*Store{s}, BackupInfo{Index: s.Frontier(), Groups: 1})
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
