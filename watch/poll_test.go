package watch

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

// counter counts how often it was woken.
type counter struct{ n int }

func (c *counter) Wake() { c.n++ }

// poll returns the indexes of what Poll has now.
func poll(t *testing.T, w *Watcher, waker Waker) (got []uint64, ended bool) {
	t.Helper()
	for {
		e, err := w.Poll(waker)
		switch {
		case errors.Is(err, ErrEnded):
			return got, true
		case err != nil:
			t.Fatalf("poll: %v", err)
		case e == nil:
			return got, false
		}
		got = append(got, e.Index)
	}
}

// Who polled in vain is woken once, by whatever is worth another Poll.
func TestPollIsWokenOnce(t *testing.T) {
	wakers := map[string]struct {
		do    func(s *stage, w *Watcher)
		want  []uint64
		ended bool
	}{
		"an event":      {func(s *stage, _ *Watcher) { s.happen(change(1, "/a")) }, []uint64{1}, false},
		"three events":  {func(s *stage, _ *Watcher) { s.happen(change(1, "/a"), change(2, "/b"), change(3, "/a")) }, []uint64{1, 3}, false},
		"a skip":        {func(s *stage, _ *Watcher) { s.past.add(change(1, "/a")); s.Skip(1) }, []uint64{1}, false},
		"its own close": {func(_ *stage, w *Watcher) { w.Close() }, nil, true},
		"the hub's":     {func(s *stage, _ *Watcher) { s.Close() }, nil, true},
	}
	for name, tt := range wakers {
		t.Run(name, func(t *testing.T) {
			s := newStage(1 << 20)
			w := s.mustWatch(t, "/a", stream)
			var c counter
			for range 2 { // the second takes the place of the first
				if got, ended := poll(t, w, &c); len(got) > 0 || ended || c.n > 0 {
					t.Fatalf("got %v, ended %v, woken %d times", got, ended, c.n)
				}
			}
			tt.do(s, w)
			if c.n != 1 {
				t.Fatalf("woken %d times", c.n)
			}
			if got, ended := poll(t, w, nil); !slices.Equal(got, tt.want) || ended != tt.ended {
				t.Fatalf("got %v, ended %v", got, ended)
			}
			w.Close()
			if c.n != 1 {
				t.Error("woken although nobody waits")
			}
		})
	}
}

// Poll looks back page by page and asks to be asked again.
func TestPollLooksBackByPages(t *testing.T) {
	s := newStage(1) // no tail to speak of
	const last = 1000
	for i := uint64(1); i <= last; i++ {
		s.happen(change(i, "/b"))
	}
	s.happen(change(last+1, "/a"))
	w := s.mustWatch(t, "/a", from(1))
	var c counter
	asked := s.past.calls()
	for polls := 1; ; polls++ {
		e, err := w.Poll(&c)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.past.calls() - asked; n > polls {
			t.Fatalf("%d pages in %d polls", n, polls)
		}
		if e != nil {
			if e.Index != last+1 || polls < last/pageEvents {
				t.Fatalf("index %d after %d polls", e.Index, polls)
			}
			break
		}
		if c.n != polls {
			t.Fatalf("woken %d times in %d polls", c.n, polls)
		}
	}
	if _, err := w.Poll(&c); !errors.Is(err, ErrEnded) {
		t.Errorf("after the event: %v", err)
	}
}

// pokes is a Waker for a goroutine.
type pokes chan struct{}

func (p pokes) Wake() { p <- struct{}{} }

// One goroutine serves many watchers, told by their wakers alone, while events
// are published and skipped: each watcher misses nothing.
func TestPollRace(t *testing.T) {
	const watchers, events, burst = 20, 2000, 100
	s := newStage(1 << 20)
	ws := make([]*Watcher, watchers)
	woken := make([]pokes, watchers)
	for i := range ws {
		ws[i] = s.mustWatch(t, "/a", stream)
		woken[i] = make(pokes, 1) // a second Wake before the next Poll would block the publisher
		woken[i].Wake()
	}
	read := make(chan struct{}) // each time all have read another burst
	var publishing sync.WaitGroup
	t.Cleanup(publishing.Wait)
	publishing.Go(func() {
		for i := uint64(1); i <= events; i++ {
			if i%70 == 0 {
				s.past.add(change(i, "/a"))
				s.Skip(i)
			} else {
				s.happen(change(i, "/a"))
			}
			if i%burst == 0 {
				select {
				case <-read:
				case <-t.Context().Done():
					return
				}
			}
		}
	})
	next := make([]uint64, watchers)
	for goal := uint64(burst); goal <= events; {
		for i, w := range ws {
			select {
			case <-woken[i]:
			default:
				continue
			}
			for {
				e, err := w.Poll(woken[i])
				if err != nil {
					t.Fatal(err)
				}
				if e == nil {
					break
				}
				if next[i]++; e.Index != next[i] {
					t.Fatalf("watcher %d got %d, want %d", i, e.Index, next[i])
				}
			}
		}
		if slices.Min(next) == goal {
			goal += burst
			read <- struct{}{}
		}
	}
}
