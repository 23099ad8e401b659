package store

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"
)

// What is remembered of the newest versions is never older than what was
// applied, however reads, writes and commits meet.
func TestRecentIsNeverStale(t *testing.T) {
	s := openFor(t, Options{FlushInterval: 100 * time.Microsecond, History: 50})
	defer mustClose(t, s)
	const keys, rounds = 8, 20_000
	key := func(i int) Key { return ParseKey(fmt.Sprintf("/k%d", i%keys)) }
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(stop)
	for r := range 3 {
		readers.Go(func() {
			var last [keys]uint64
			for i := r; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e, pos, refused := s.Get(key(i), false)
				if refused != nil {
					continue
				}
				if e.Node.ModifiedIndex < last[i%keys] || e.Node.ModifiedIndex > pos.Index {
					t.Errorf("key %d: index %d after %d, at %d", i%keys, e.Node.ModifiedIndex, last[i%keys], pos.Index)
					return
				}
				last[i%keys] = e.Node.ModifiedIndex
			}
		})
	}
	for i := range rounds {
		op := OpSet
		if i%7 == 3 {
			op = OpDelete
		}
		s.Apply(uint64(i+1), &Command{Op: op, Key: key(i * i), Value: strconv.Itoa(i)})
		e, _, refused := s.Get(key(i*i), false)
		if op == OpSet && (refused != nil || e.Node.Value != strconv.Itoa(i)) {
			t.Fatalf("round %d: %v %v right after it was set", i, e, refused)
		}
		if op == OpDelete && refused == nil {
			t.Fatalf("round %d: %v right after it was deleted", i, e.Node)
		}
	}
}

// Old versions are read from the disk, whatever is remembered.
func TestRecentKnowsItsIndex(t *testing.T) {
	s := openFor(t, Options{})
	defer mustClose(t, s)
	for i := range 20 {
		s.Apply(uint64(i+1), &Command{Op: OpSet, Key: ParseKey("/k"), Value: strconv.Itoa(i)})
		if i%3 == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := s.Frontier() - 19
	for round := range 2 {
		for i := range uint64(20) {
			e, refused := s.GetAt(ParseKey("/k"), false, first+i)
			if refused != nil || e.Node.Value != strconv.Itoa(int(i)) {
				t.Fatalf("round %d: at %d: %v %v, want %d", round, first+i, e, refused, i)
			}
		}
	}
}

// A read that was slow does not bring back what was replaced, committed and
// forgotten meanwhile.
func TestRecentDoesNotLearnLate(t *testing.T) {
	for _, removed := range []bool{false, true} {
		s := openFor(t, Options{})
		defer mustClose(t, s)
		k := ParseKey("/k")
		mustApply(t, s, Command{Op: OpSet, Key: k, Value: "old"})
		commit := func() {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			s.kv.recent = newRecent() // as if many other places had come since
		}
		commit()

		v, err := s.kv.latest()
		if err != nil {
			t.Fatal(err)
		}
		defer v.release()
		place := []byte(nodePlace(k))
		_, known, now := v.known(place, v.head.frontier)
		if known {
			t.Fatal("it was not forgotten")
		}
		value, index, _, err := v.db.get(place, v.head.frontier, v.head.frontier)
		if err != nil {
			t.Fatal(err)
		}
		command := Command{Op: OpSet, Key: k, Value: "new"}
		if removed {
			command = Command{Op: OpDelete, Key: k}
		}
		mustApply(t, s, command)
		commit()
		s.kv.learn(place, version{index: index, value: value}, v.db, now.drops)

		e, _, refused := s.Get(k, false)
		if removed && refused == nil || !removed && (refused != nil || e.Node.Value != "new") {
			t.Errorf("removed %v: %v %v", removed, e, refused)
		}
	}
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
