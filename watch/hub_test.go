package watch

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

const kiB = 1 << 10

func TestLongPollGivesOneEvent(t *testing.T) {
	for _, c := range []struct {
		name string
		from uint64
		want uint64
	}{
		{"from now on", 0, 4},
		{"the index itself", 1, 1},
		{"the first match above the index", 2, 3},
		{"the next index", 4, 4},
		{"an index in the future", 6, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(64 * kiB)
			s.happen(change(1, "/a"), change(2, "/b"), change(3, "/a"))
			w := s.mustWatch(t, "/a", from(c.from))
			s.happen(change(4, "/a"))
			s.happen(change(5, "/a"), change(6, "/b"), change(7, "/a"))
			s.happen(change(8, "/a"))
			expect(t, w, true, c.want)
			if closed(w.Ended()) {
				t.Error("a long poll that got its event says it was cut off")
			}
			if w.Index() != 3 {
				t.Errorf("index %d, want 3", w.Index())
			}
			if n := s.Watchers(); n != 0 {
				t.Errorf("%d watchers left", n)
			}
		})
	}
}

func TestStreamReplaysThenGoesLive(t *testing.T) {
	for _, c := range []struct {
		name string
		tail int
	}{
		{"from the tail", 1 << 20},
		{"from the source and the tail", 200 * (eventOverhead + 6)},
		{"from the source", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(c.tail)
			s.past.page = 100 // fewer than asked for, as a Source may
			var want []uint64
			for i := uint64(1); i <= 1000; i++ {
				key := "/b"
				if i%3 == 0 && i >= 5 {
					key = "/a"
					want = append(want, i)
				}
				s.happen(change(i, key))
			}
			w := s.mustWatch(t, "/a", stream, from(5))
			s.happen(change(1001, "/a"), change(1002, "/a"))
			expect(t, w, false, append(want, 1001, 1002)...)
			s.happen(change(1003, "/a"), change(1004, "/b"), change(1005, "/a"))
			expect(t, w, false, 1003, 1005)
		})
	}
}

func TestTailIsOnlyACache(t *testing.T) {
	s := newStage(1 << 20)
	for i := uint64(1); i <= 10; i++ {
		s.happen(change(i, "/a"))
	}
	calls := s.past.calls()
	expect(t, s.mustWatch(t, "/a", stream, from(8)), false, 8, 9, 10)
	if n := s.past.calls() - calls; n != 1 {
		t.Errorf("the source was asked %d times, want once, whether it has the index", n)
	}
	expect(t, s.mustWatch(t, "/a", stream, from(11)), false)
	if n := s.past.calls() - calls; n != 1 {
		t.Errorf("the source was asked for an index to come")
	}
}

// The tail may have what the history has dropped, and on another member not.
func TestClearedThoughStillInTheTail(t *testing.T) {
	s := newStage(1 << 20)
	for i := uint64(1); i <= 10; i++ {
		s.happen(change(i, "/a"))
	}
	s.past.clearBelow(4)
	_, err := s.Watch(Request{Key: store.ParseKey("/a"), From: 3})
	want := &store.Error{Code: store.CodeEventIndexCleared, Cause: "the requested history has been cleared [4/3]", Index: 10}
	var got *store.Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v", err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	expect(t, s.mustWatch(t, "/a", from(4)), true, 4)
}

func TestStreamThatFallsBehindTheHistoryEnds(t *testing.T) {
	s := newStage(1)
	for i := uint64(1); i <= 100; i++ {
		s.happen(change(i, "/a"))
	}
	w := s.mustWatch(t, "/a", stream, from(1))
	if e, err := w.Next(deadline(t)); err != nil || e.Index != 1 {
		t.Fatal(e, err)
	}
	s.past.clearBelow(90)
	got, ended := drain(t, w)
	if !ended || !closed(w.Ended()) {
		t.Fatalf("not ended after %v", got)
	}
	if len(got) != firstPage-1 {
		t.Errorf("got %v, want the rest of the page it had", got)
	}
}

// A burst, or a slow reader, costs no more memory than the queue: what does
// not fit is read from the history, for as long as that has it.
func TestSlowReaderLooksBack(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		fit  int
	}{
		{"too many events", 1, queueEvents},
		{"too many bytes", 400 * kiB, queueBytes / (800*kiB + eventOverhead + 4)},
		{"one event is always let through", 2 * queueBytes, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(kiB)
			w, gone := s.mustWatch(t, "/a", stream), s.mustWatch(t, "/a", stream)
			var want []uint64
			for i := 1; i <= c.fit+2; i++ {
				s.happen(heavy(uint64(i), "/a", c.size))
				want = append(want, uint64(i))
			}
			for _, each := range []*Watcher{w, gone} {
				if n := len(each.queue); n != c.fit {
					t.Fatalf("%d events are queued, want %d", n, c.fit)
				}
			}
			expect(t, w, false, want...)
			s.happen(heavy(uint64(c.fit+3), "/a", c.size))
			expect(t, w, false, uint64(c.fit+3))
			s.past.clearBelow(uint64(c.fit + 3))
			expect(t, gone, true, want[:c.fit]...)
			if !closed(gone.Ended()) || closed(w.Ended()) || s.Watchers() != 1 {
				t.Error("not the one whose history is gone was ended")
			}
		})
	}
}

func TestReaderThatKeepsUpStays(t *testing.T) {
	s := newStage(kiB)
	w := s.mustWatch(t, "/a", stream)
	for i := uint64(1); i <= 10*queueEvents; i++ {
		s.happen(heavy(i, "/a", 20*kiB))
		if i%100 == 0 {
			if got, ended := drain(t, w); ended || len(got) != 100 {
				t.Fatalf("got %d events, ended %v", len(got), ended)
			}
		}
	}
}

func TestSkipEndsWhoNeedsWhatIsGone(t *testing.T) {
	s := newStage(1 << 20)
	s.happen(change(1, "/a"), change(2, "/a"))
	live := s.mustWatch(t, "/a", stream)
	back := s.mustWatch(t, "/a", stream, from(1))
	future := s.mustWatch(t, "/a", from(50))
	s.happen(change(3, "/a"))
	s.past.clearBelow(21)
	s.Skip(20)
	expect(t, live, true, 3)
	expect(t, back, true)
	for i, w := range []*Watcher{live, back} {
		if !closed(w.Ended()) {
			t.Errorf("watcher %d does not know it was ended", i)
		}
	}
	if _, err := s.Watch(Request{Key: store.ParseKey("/a"), From: 4}); asCleared(err) == nil {
		t.Errorf("watch of what was jumped over: %v", err)
	}
	w := s.mustWatch(t, "/a", stream, from(21))
	s.happen(change(21, "/a"), change(50, "/a"))
	expect(t, w, false, 21, 50)
	expect(t, future, true, 50)
}

func TestSkipSendsWatchersToTheSource(t *testing.T) {
	s := newStage(1 << 20)
	s.happen(change(1, "/a"))
	live := s.mustWatch(t, "/a", stream)
	future := s.mustWatch(t, "/a", stream, from(4))
	s.happen(change(2, "/a"))
	s.past.add(change(3, "/a"), change(4, "/b"), change(5, "/a"))
	s.Skip(6)
	s.happen(change(7, "/a"))
	expect(t, live, false, 2, 3, 5, 7)
	expect(t, future, false, 5, 7)

	s.past.add(change(8, "/a"))
	s.past.clearBelow(9)
	s.Skip(9)
	expect(t, live, true)
	if !closed(live.Ended()) {
		t.Error("a watcher that lost an event does not know it was ended")
	}
	if s.Skip(3); s.Last() != 9 {
		t.Errorf("skipped back to %d", s.Last())
	}
}

func TestCloseOfTheHub(t *testing.T) {
	s := newStage(1 << 20)
	s.happen(change(1, "/a"))
	w := s.mustWatch(t, "/a", stream)
	s.happen(change(2, "/a"))
	s.Close()
	s.Publish(3, change(3, "/a"))
	s.Skip(9)
	expect(t, w, true, 2)
	if !closed(w.Ended()) {
		t.Error("not told that it was ended")
	}
	for _, index := range []uint64{0, 1, 99} {
		if _, err := s.Watch(Request{From: index}); !errors.Is(err, ErrEnded) {
			t.Errorf("watch from %d of a closed hub: %v", index, err)
		}
	}
}

func TestCloseOfAWatcher(t *testing.T) {
	s := newStage(1 << 20)
	s.happen(change(1, "/a/b"))
	for _, opts := range [][]func(*Request){
		{stream},
		{recursive},
		{from(9)},
		{stream, from(1)},
	} {
		w := s.mustWatch(t, "/a/b", opts...)
		w.Close()
		w.Close()
		s.Publish(s.Last()+1, change(s.Last()+1, "/a/b"))
		expect(t, w, true)
		if closed(w.Ended()) {
			t.Error("Ended after Close")
		}
	}
	if s.Watchers() != 0 || s.live.root.below != nil {
		t.Errorf("%d watchers, places %v", s.Watchers(), s.live.root.below)
	}
}

func TestRepeatedEventsArePassedOver(t *testing.T) {
	s := newStage(1 << 20)
	w := s.mustWatch(t, "/a", stream)
	s.happen(change(1, "/a"), change(2, "/a"))
	s.Publish(2, change(1, "/a"), change(2, "/a"))
	s.Publish(1)
	if s.Last() != 2 {
		t.Errorf("last %d", s.Last())
	}
	s.Publish(9, change(2, "/a"), change(3, "/a"))
	expect(t, w, false, 1, 2, 3)
	if s.Last() != 9 {
		t.Errorf("last %d", s.Last())
	}
}

func TestNextWaitsAndWakes(t *testing.T) {
	s := newStage(1 << 20)
	w := s.mustWatch(t, "/a", stream)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	for i := uint64(1); i <= 100; i++ {
		got := make(chan uint64)
		go func() {
			e, err := w.Next(deadline(t))
			if err != nil {
				t.Error(err)
				e = change(0, "/a")
			}
			got <- e.Index
		}()
		s.happen(change(i, "/a"))
		if g := <-got; g != i {
			t.Fatalf("got %d, want %d", g, i)
		}
	}
	over := make(chan error)
	for _, end := range []func(){func() { w.Close() }, s.Close} {
		w = s.mustWatch(t, "/a", stream)
		go func() {
			_, err := w.Next(deadline(t))
			over <- err
		}()
		end()
		if err := <-over; !errors.Is(err, ErrEnded) {
			t.Fatalf("error %v", err)
		}
	}
}

func TestSourceFailure(t *testing.T) {
	broken := errors.New("input/output error")
	s := newStage(1)
	s.happen(change(1, "/b"), change(2, "/b"))
	w := s.mustWatch(t, "/a", from(1))
	s.past.err = broken
	if _, err := s.Watch(Request{From: 1}); !errors.Is(err, broken) {
		t.Errorf("watch: %v", err)
	}
	if _, err := w.Next(deadline(t)); !errors.Is(err, broken) {
		t.Errorf("next: %v", err)
	}
	expect(t, w, true)
	if !closed(w.Ended()) || s.Watchers() != 0 {
		t.Error("not ended")
	}

	s.past.err = nil
	w = s.mustWatch(t, "/a", from(1))
	s.past.err = broken
	s.Close()
	if _, err := w.Next(deadline(t)); !errors.Is(err, ErrEnded) {
		t.Errorf("next of a watcher ended before: %v", err)
	}
}

func TestPagesFollowTheWeightOfEvents(t *testing.T) {
	s := newStage(1)
	for i := uint64(1); i <= 60; i++ {
		s.happen(heavy(i, "/a", pageBytes/8))
	}
	w := s.mustWatch(t, "/a", stream, from(1))
	if w.size != firstPage {
		t.Fatalf("first page of %d", w.size)
	}
	if _, err := w.Next(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if w.size != 3 {
		t.Errorf("page of %d events, want 3 that weigh some 1 MiB", w.size)
	}
	if got, _ := drain(t, w); len(got) != 59 {
		t.Errorf("got %d events", len(got))
	}
	for i := uint64(61); i <= 500; i++ {
		s.happen(change(i, "/b"))
	}
	w = s.mustWatch(t, "/a", stream, from(100))
	drain(t, w)
	if w.size != pageEvents {
		t.Errorf("page of %d events, want %d light ones", w.size, pageEvents)
	}
}

func TestTailIsBounded(t *testing.T) {
	const fits = 10
	for _, size := range []int{1, 100, 5000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			one := weight(heavy(1, "/a", size))
			tl := tail{limit: fits*one + 1, start: 1}
			for i := uint64(1); i <= 1000; i++ {
				tl.push(heavy(i, "/a", size))
				if want := min(int(i), fits); tl.n != want || tl.bytes != want*one {
					t.Fatalf("after %d: %d events, %d bytes", i, tl.n, tl.bytes)
				}
				if first := tl.at(0).Index; tl.start > first || first > 1 && tl.start != first {
					t.Fatalf("start %d, first %d", tl.start, first)
				}
				if j, ok := tl.find(i); !ok || tl.at(j).Index != i {
					t.Fatalf("newest event not found")
				}
			}
			tl.push(heavy(1001, "/a", 100*tl.limit))
			if tl.n != 1 || tl.start != 1001 {
				t.Errorf("%d events from %d, want only the newest", tl.n, tl.start)
			}
			if _, ok := tl.find(1000); ok {
				t.Error("found what was dropped")
			}
			if i, ok := tl.find(1002); !ok || i != 1 {
				t.Errorf("find of the next index: %d, %v", i, ok)
			}
		})
	}
}
