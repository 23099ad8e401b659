package store

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
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
			s.kv.recent = newRecent(0) // as if many other places had come since
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

// Whatever is put in, what comes out is the newest of its place, and what was
// put in lately comes out.
func TestRecentForgetsTheOldest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r, newest, order := newRecent(3*slabBytes), map[string]version{}, []string{}
	for i := range uint64(20_000) {
		place := nodePlace(ParseKey(fmt.Sprintf("/d%d/k%d", random.IntN(9), random.IntN(3000))))
		v := version{index: i + 1, value: strings.Repeat("v", random.IntN(300))}
		switch random.IntN(50) {
		case 0:
			v = version{index: i + 1, gone: true}
		case 1:
			v.value = strings.Repeat("v", rememberedBytes-40+random.IntN(80))
		}
		r.put(place, v)
		newest[place] = v
		order = append(order, place)
		for range 5 {
			place := order[random.IntN(len(order))]
			if got, ok := r.get([]byte(place)); ok && got != newest[place] {
				t.Fatalf("after %d: version %d of %q, but %d is the newest", i, got.index, place, newest[place].index)
			}
		}
		if got, ok := r.get([]byte(place)); ok != (len(place)+len(v.value)+rememberedHead <= rememberedBytes) || ok && got != v {
			t.Fatalf("after %d: %v, version %d of what was just put in", i, ok, got.index)
		}
	}
	if n := len(r.slabs); n != 3 {
		t.Errorf("%d slabs", n)
	}
	if n := len(r.places); n == 0 || n > len(newest) {
		t.Errorf("%d places", n)
	}
}

// Two places with one hash do not get each other's versions. There are some
// among so many.
func TestRecentTellsPlacesApart(t *testing.T) {
	const places = 300_000
	r := newRecent(DefaultCacheBytes)
	place := func(i int) string { return nodePlace(ParseKey(fmt.Sprintf("/k%d", i))) }
	for i := range places {
		r.put(place(i), version{index: uint64(i + 1)})
	}
	missing := 0
	for i := range places {
		v, ok := r.get([]byte(place(i)))
		if ok && v.index != uint64(i+1) {
			t.Fatalf("%q has the version of place %d", place(i), v.index-1)
		}
		if !ok {
			missing++
		}
	}
	if missing == 0 || missing > 100 {
		t.Errorf("%d of %d have a hash in common with a later one", missing, places)
	}
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
