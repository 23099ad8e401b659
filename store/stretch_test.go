package store

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCutStretches checks that however late a generation begins, what an earlier
// one has of a stretch's end begins no later, and that stretches stay small.
func TestCutStretches(t *testing.T) {
	var all []past
	for i := range uint64(3000) {
		all = append(all, past{index: 4 + 4*i, size: 50 + int(i*i%997)})
		if i%500 == 250 {
			all[i].size = 100_000
		}
	}
	begins := map[uint64]uint64{} // of the stretch that ends at an index
	for from := 0; from < len(all); from += 7 {
		next := from
		err := cutStretches(all[from:], func(stretch []past) error {
			begin, end, size := stretch[0].index, stretch[len(stretch)-1].index, 0
			if begin != all[next].index {
				t.Fatalf("a stretch begins at %d, not %d", begin, all[next].index)
			}
			next += len(stretch)
			for i := range stretch {
				size += stretch[i].size
			}
			if size > 4*stretchBytes && len(stretch) > 1 {
				t.Errorf("a stretch of %d events has %d bytes", len(stretch), size)
			}
			if before, ok := begins[end]; ok && before > begin {
				t.Errorf("the stretch up to %d began at %d and begins at %d", end, before, begin)
			}
			begins[end] = begin
			return nil
		})
		if err != nil || next != len(all) {
			t.Fatalf("cut %d of %d: %v", next, len(all), err)
		}
	}
}

// TestTornStretch leaves a stretch of the history on the disk without the ledger
// that vouches for it, and lets the log bring its events in other stretches.
func TestTornStretch(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	set := func(s *Store, n int) {
		for i := range n {
			mustApply(t, s, Command{Op: OpSet, Key: ParseKey(fmt.Sprintf("/k%d", i%3)), Value: fmt.Sprint(i)})
		}
	}
	s := openFor(t, o)
	set(s, 5)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{9, 4, 9} {
		set(s, n)
		if err := s.Tear(func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err == nil {
			t.Fatal("the store closed as if nothing had happened")
		}
		s = openFor(t, o)
		if left := eventsOnDisk(t, s); len(left) != 5 || left[4].index != 8 {
			t.Fatalf("the disk has events %v", left)
		}
	}
	defer func() { s.Close() }()
	for range 3 {
		set(s, 3)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	want := []int{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	for range 2 {
		var got []int
		for _, p := range eventsOnDisk(t, s) {
			got = append(got, int(p.index))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openFor(t, o)
	}
}

// TestHistoryTrimmedAtStretches checks which stretches of the history leave the disk.
func TestHistoryTrimmedAtStretches(t *testing.T) {
	const history = 1000
	s := openFor(t, Options{History: history})
	defer s.Close()
	var v view
	for i := range 3000 {
		mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a"), Value: "v"})
		if i == 1200 { // a reader that keeps what is no longer in the history
			var err error
			if v, err = s.kv.since(s.kv.current().oldest); err != nil {
				t.Fatal(err)
			}
		}
		if i%300 == 299 {
			s.writePending()
		}
	}
	if begin := eventsOnDisk(t, s)[0].index; begin > v.low || begin+300 < v.low {
		t.Errorf("the disk has events from %d, %d is read", begin, v.low)
	}
	v.release()
	mustApply(t, s, Command{Op: OpTick})
	s.writePending() // vouches for what is kept
	mustApply(t, s, Command{Op: OpTick})
	s.writePending()
	oldest := s.kv.current().oldest
	if begin := eventsOnDisk(t, s)[0].index; begin > oldest || begin+300 < oldest {
		t.Errorf("the disk has events from %d, %d is the oldest", begin, oldest)
	}
	if got, err := s.Events(oldest, math.MaxUint64, 2*history); err != nil || len(got) != history {
		t.Errorf("%d events are read, %v", len(got), err)
	}
}

// TestOtherLayout opens what another version has written.
func TestOtherLayout(t *testing.T) {
	o := filled(t)
	s := openFor(t, o)
	old := s.commit.last().ledger // begins with its own format, as it did before there were layouts
	batch := s.kv.db.badger.NewManagedWriteBatch()
	e := entry{place: ledgerKey, version: s.kv.db.ledger + 1, value: old}
	if err := errors.Join(e.addTo(batch), batch.Flush(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := Open(o)
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "its layout is 1, this version reads") {
		t.Errorf("opened: %v", err)
	}
	if _, err := Verify(o); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("verified: %v", err)
	}
}

// FuzzStretch checks that no bytes make the decoder of the history panic, and
// that it tells every event of what it accepts.
func FuzzStretch(f *testing.F) {
	f.Add(string(encodeStretch([]past{{index: 4, trace: "a"}, {index: 300}, {index: 301, trace: "bc"}})), uint64(301))
	f.Add("", uint64(0))
	f.Add("\x05\x01", uint64(5))
	f.Fuzz(func(t *testing.T, s string, end uint64) {
		var events []past
		err := decodeStretch(s, end, func(index uint64, trace string) bool {
			events = append(events, past{index: index, trace: trace})
			return true
		})
		if err != nil {
			return
		}
		again := events[:0:0]
		err = decodeStretch(string(encodeStretch(events)), end, func(index uint64, trace string) bool {
			again = append(again, past{index: index, trace: trace})
			return true
		})
		if err != nil || fmt.Sprint(events) != fmt.Sprint(again) {
			t.Fatalf("%v becomes %v, %v", events, again, err)
		}
	})
}
