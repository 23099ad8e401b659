package watch

import (
	"slices"
	"sync"
	"testing"

	"github.com/witan-kv/witan/store"
)

// mergeStage is a root hub with the merge that feeds it.
type mergeStage struct {
	*stage
	merge *Merge
}

func newMergeStage(tailBytes int, frontiers ...uint64) *mergeStage {
	s := newStage(tailBytes)
	return &mergeStage{stage: s, merge: NewMerge(s.Hub, frontiers)}
}

// does records events of a group and publishes them.
func (s *mergeStage) does(group int, frontier uint64, events ...*store.Event) {
	s.past.add(events...)
	s.merge.Publish(group, frontier, events...)
}

func (s *mergeStage) root(t testing.TB, opts ...func(*Request)) *Watcher {
	t.Helper()
	return s.mustWatch(t, "/", append(opts, stream, recursive)...)
}

func TestMergeReleasesAtTheClosedIndex(t *testing.T) {
	s := newMergeStage(1<<20, 0, 0)
	w := s.root(t)
	s.does(0, 4, change(2, "/a"), change(4, "/a"))
	expect(t, w, false)
	if s.merge.Pending() != 4 || !slices.Equal(s.merge.Lagging(4), []int{1}) {
		t.Errorf("pending %d, lagging %v", s.merge.Pending(), s.merge.Lagging(4))
	}
	s.does(1, 3, change(1, "/b"), change(3, "/b"))
	expect(t, w, false, 1, 2, 3)
	if s.merge.Closed() != 3 || s.Last() != 3 {
		t.Errorf("closed %d, last %d", s.merge.Closed(), s.Last())
	}
	s.does(1, 5) // a tick
	expect(t, w, false, 4)
	if s.merge.Pending() != 0 || len(s.merge.Lagging(4)) != 0 {
		t.Errorf("pending %d, lagging %v", s.merge.Pending(), s.merge.Lagging(4))
	}
	expect(t, s.root(t, from(2)), false, 2, 3, 4)
}

func TestMergeOfOneGroupPassesThrough(t *testing.T) {
	s := newMergeStage(1<<20, 7)
	if s.Last() != 7 || s.merge.Closed() != 7 || s.merge.Pending() != 0 {
		t.Fatalf("last %d, closed %d, pending %d", s.Last(), s.merge.Closed(), s.merge.Pending())
	}
	w := s.root(t)
	s.does(0, 8, change(8, "/a"))
	s.does(0, 8, change(8, "/a"))
	s.does(0, 12)
	expect(t, w, false, 8)
	if s.Last() != 12 || s.merge.Closed() != 12 || s.merge.Pending() != 0 {
		t.Errorf("last %d, closed %d, pending %d", s.Last(), s.merge.Closed(), s.merge.Pending())
	}
	s.past.add(change(13, "/a"))
	s.merge.Skip(0, 14)
	s.does(0, 15, change(15, "/a"))
	expect(t, w, false, 13, 15)
}

// After a restart one group may be ahead: what it did before the merge was
// made lies in the history only.
func TestMergeStartsWithUnevenFrontiers(t *testing.T) {
	s := newStage(1 << 20)
	s.past.add(change(2, "/a"), change(4, "/a"), change(6, "/a"))
	m := &mergeStage{stage: s, merge: NewMerge(s.Hub, []uint64{6, 3})}
	if s.Last() != 3 || m.merge.Pending() != 6 {
		t.Fatalf("last %d, pending %d", s.Last(), m.merge.Pending())
	}
	w := m.root(t)
	m.does(0, 8, change(8, "/a"))
	m.does(1, 5, change(5, "/b"))
	expect(t, w, false, 4, 5)
	m.does(1, 9, change(9, "/b"))
	expect(t, w, false, 6, 8)
	m.does(0, 10)
	expect(t, w, false, 9)
}

func TestMergeIsBoundedWhileAGroupIsIdle(t *testing.T) {
	const tail = 64 * kiB
	s := newMergeStage(tail, 0, 0)
	w := s.root(t)
	var want []uint64
	for i := uint64(2); i <= 4000; i += 2 {
		s.does(0, i, change(i, "/a"))
		want = append(want, i)
		if s.merge.bytes > tail {
			t.Fatalf("%d bytes are queued", s.merge.bytes)
		}
	}
	expect(t, w, false)
	s.does(1, 1001, change(1001, "/b"))
	s.does(1, 4001)
	i, _ := slices.BinarySearch(want, 1001)
	want = slices.Insert(want, i, 1001)
	expect(t, w, false, want...)
	expect(t, s.root(t, from(1)), false, want...)
	if s.merge.bytes != 0 {
		t.Errorf("%d bytes are queued", s.merge.bytes)
	}
	s.does(0, 4002, change(4002, "/a"))
	calls := s.past.calls()
	s.does(1, 4003)
	expect(t, w, false, 4002)
	if s.past.calls() != calls {
		t.Error("still reads the source")
	}
}

func TestMergeOfFourPublishers(t *testing.T) {
	const groups, each = 4, 3000
	for _, tail := range []int{kiB, 1 << 20} {
		s := newMergeStage(tail, 0, 0, 0, 0)
		var readers, writers sync.WaitGroup
		const last = (each + 1) * groups
		got := make([][]uint64, 3)
		for i := range got {
			readers.Add(1)
			go func() {
				defer readers.Done()
				got[i] = readUntil(t, s.Hub, Request{Recursive: true, Stream: true, From: 1}, last)
			}()
		}
		for g := range groups {
			writers.Add(1)
			go func() {
				defer writers.Done()
				for i := 1; i <= each; i++ {
					index := uint64(i*groups + g)
					s.does(g, index, change(index, "/a"))
				}
			}()
		}
		writers.Wait()
		for g := range groups {
			if g == 0 {
				s.does(g, last, change(last, "/end"))
			} else {
				s.does(g, last)
			}
		}
		readers.Wait()
		var want []uint64
		for i := uint64(groups); i <= last; i++ {
			want = append(want, i)
		}
		for i := range got {
			if !slices.Equal(got[i], want) {
				t.Errorf("reader %d of %d bytes of tail got %d events", i, tail, len(got[i]))
			}
		}
	}
}
