package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/witan-kv/witan/store"
)

// readUntil watches as a client does, coming back with the next index whenever
// its watcher ends, until it has the event last. It returns all indexes it got.
func readUntil(t *testing.T, h *Hub, req Request, last uint64) (got []uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		w, err := h.Watch(req)
		if err != nil {
			t.Errorf("watch from %d: %v", req.From, err)
			return got
		}
		for {
			e, err := w.Next(ctx)
			if errors.Is(err, ErrEnded) {
				break
			}
			if err != nil {
				t.Errorf("next after %d: %v", req.From, err)
				return got
			}
			got = append(got, e.Index)
			req.From = e.Index + 1
			if e.Index >= last {
				w.Close()
				return got
			}
		}
		w.Close()
	}
}

// TestLookBackRacesPublish has hundreds of clients begin at random indexes
// while one publisher goes at full speed.
func TestLookBackRacesPublish(t *testing.T) {
	const last, keys = 3000, 7
	key := func(i uint64) string { return fmt.Sprintf("/d/k%d", i%keys) }
	var parsed [keys]store.Key
	for i := range parsed {
		parsed[i] = store.ParseKey(key(uint64(i)))
	}
	for _, tail := range []int{1, 100 * kiB, 1 << 24} {
		t.Run(fmt.Sprint(tail), func(t *testing.T) {
			s := newStage(tail)
			var clients sync.WaitGroup
			for n := range 200 {
				clients.Add(1)
				go func() {
					defer clients.Done()
					req := Request{Key: store.ParseKey("/d"), Recursive: true, Stream: n%3 != 0, From: 1 + rand.Uint64N(last)}
					if n%2 == 0 {
						req.Key, req.Recursive = parsed[last%keys], n%4 == 0
					}
					begin := req.From
					got := readUntil(t, s.Hub, req, last)
					var want []uint64
					for i := begin; i <= last; i++ {
						if req.Key.Contains(parsed[i%keys]) {
							want = append(want, i)
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%+v from %d: got %d events, want %d", req, begin, len(got), len(want))
					}
				}()
			}
			for i := uint64(1); i <= last; i++ {
				s.happen(change(i, key(i)))
			}
			clients.Wait()
			if n := s.Watchers(); n != 0 || s.live.root.below != nil {
				t.Errorf("%d watchers left, places %v", n, s.live.root.below)
			}
		})
	}
}

// TestGetThenWatchSeesTheNextWrite is the recipe every client uses: take the
// index, watch from the next (reliability MR-5).
func TestGetThenWatchSeesTheNextWrite(t *testing.T) {
	const last = 5000
	s := newStage(8 * kiB)
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				at := s.Last()
				if at >= last {
					return
				}
				w, err := s.Watch(Request{Key: store.ParseKey("/a"), From: at + 1})
				if err != nil {
					t.Error(err)
					return
				}
				e, err := w.Next(deadline(t))
				w.Close()
				if err != nil || e.Index != at+1 {
					t.Errorf("after %d: %v, %v", at, e, err)
					return
				}
			}
		}()
	}
	for i := uint64(1); i <= last; i++ {
		s.happen(change(i, "/a"))
	}
	for range 4 {
		<-done
	}
}

// TestEndingsRace has watchers come, go, be skipped and be ended at once; the
// race detector and the tree's own bookkeeping are what it asks.
func TestEndingsRace(t *testing.T) {
	s := newStage(4 * kiB)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 32 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for !closed(stop) {
				w, err := s.Watch(Request{
					Key: store.ParseKey(fmt.Sprintf("/a/%d", n%5)), Stream: n%2 == 0, From: max(s.Last(), 20) - 20,
				})
				if asCleared(err) != nil {
					continue
				}
				if err != nil {
					if !errors.Is(err, ErrEnded) || !closed(stop) {
						t.Error(err)
					}
					return
				}
				ended := w.Ended()
				before := uint64(0)
				for i := 0; i < n && !closed(ended); i++ {
					e, err := w.Next(deadline(t))
					if err != nil {
						break
					}
					if e.Index <= before {
						t.Errorf("%d after %d", e.Index, before)
					}
					before = e.Index
				}
				w.Close()
			}
		}()
	}
	for i := uint64(1); i <= 5000; i++ {
		e := change(i, fmt.Sprintf("/a/%d", i%5))
		switch {
		case i%500 == 0:
			s.past.add(e)
			s.past.clearBelow(i)
			s.Skip(i)
		case i%50 == 0:
			s.past.add(e)
			s.Skip(i)
		default:
			s.happen(e)
		}
	}
	close(stop)
	s.Close()
	clients.Wait()
	if s.Watchers() != 0 || s.live.root.below != nil {
		t.Errorf("%d watchers left, places %v", s.Watchers(), s.live.root.below)
	}
}
