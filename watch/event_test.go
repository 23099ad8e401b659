package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/witan-kv/witan/store"
)

// change returns the event of a write to key.
func change(index uint64, key string) *store.Event {
	return &store.Event{
		Action: store.ActionSet,
		Index:  index,
		Node:   &store.Node{Key: store.ParseKey(key), Value: "v", CreatedIndex: index, ModifiedIndex: index},
	}
}

// heavy returns the event of a write of size bytes to key.
func heavy(index uint64, key string, size int) *store.Event {
	e := change(index, key)
	e.Node.Value = string(make([]byte, size))
	return e
}

// refresh returns the event of a TTL refresh of key.
func refresh(index uint64, key string) *store.Event {
	e := change(index, key)
	e.Refresh = true
	return e
}

// removal returns the event of deleting the directory key with the nodes gone
// below it.
func removal(index uint64, key string, gone ...string) *store.Event {
	e := change(index, key)
	e.Action = store.ActionDelete
	e.Node.Dir = true
	e.Node.Value = ""
	setRemoved(e, func(k store.Key) bool { return slices.Contains(gone, k.String()) })
	return e
}

// setRemoved makes e answer Removed. Only a store can make such events, but it
// would have to be led to each of the cases tried here by real writes, and
// slowly; TestWithAStore shows that its events do the same.
func setRemoved(e *store.Event, removed func(store.Key) bool) {
	f := reflect.ValueOf(e).Elem().FieldByName("removed")
	*(*func(store.Key) bool)(unsafe.Pointer(f.UnsafeAddr())) = removed
}

// history is a Source in memory.
type history struct {
	mu     sync.Mutex
	events []*store.Event // by index
	oldest uint64
	page   int // most events in an answer, if not 0
	asked  int // number of calls
	err    error
}

func (h *history) Events(from, to uint64, limit int) ([]*store.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if h.err != nil {
		return nil, h.err
	}
	if from < h.oldest {
		return nil, clearedError(h.oldest, from)
	}
	if h.page > 0 {
		limit = min(limit, h.page)
	}
	var found []*store.Event
	i, _ := slices.BinarySearchFunc(h.events, from, func(e *store.Event, x uint64) int {
		return cmp.Compare(e.Index, x)
	})
	for ; i < len(h.events) && len(found) < limit && h.events[i].Index <= to; i++ {
		found = append(found, h.events[i])
	}
	return found, nil
}

// clearedError is what a Source says for an index before its history.
func clearedError(oldest, want uint64) *store.Error {
	return &store.Error{
		Code:  store.CodeEventIndexCleared,
		Cause: fmt.Sprintf("the requested history has been cleared [%d/%d]", oldest, want),
	}
}

// add records events; they need not come in order.
func (h *history) add(events ...*store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		i := len(h.events)
		for i > 0 && h.events[i-1].Index > e.Index {
			i--
		}
		h.events = slices.Insert(h.events, i, e)
	}
}

// clearBelow forgets what lies below oldest.
func (h *history) clearBelow(oldest uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.oldest = max(h.oldest, oldest)
}

func (h *history) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// stage is a hub with its history, for tests that play one group.
type stage struct {
	*Hub
	past *history
}

func newStage(tailBytes int) *stage {
	past := &history{}
	return &stage{Hub: NewHub(past, 0, tailBytes), past: past}
}

// happen records events and publishes them, as a replica does.
func (s *stage) happen(events ...*store.Event) {
	s.past.add(events...)
	s.Publish(events[len(events)-1].Index, events...)
}

func (s *stage) mustWatch(t testing.TB, key string, opts ...func(*Request)) *Watcher {
	t.Helper()
	req := Request{Key: store.ParseKey(key)}
	for _, o := range opts {
		o(&req)
	}
	w, err := s.Watch(req)
	if err != nil {
		t.Fatalf("watch %+v: %v", req, err)
	}
	return w
}

func recursive(r *Request) { r.Recursive = true }
func stream(r *Request)    { r.Stream = true }
func from(index uint64) func(*Request) {
	return func(r *Request) { r.From = index }
}

// atOnce is a context for Next that does not end but lets nobody wait: Next
// returns nil, nil where it would sleep.
type atOnce struct{ context.Context }

func (atOnce) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// drain returns the indexes of all events that w has now, and whether it ended.
func drain(t testing.TB, w *Watcher) (got []uint64, ended bool) {
	t.Helper()
	for {
		e, err := w.Next(atOnce{context.Background()})
		switch {
		case errors.Is(err, ErrEnded):
			return got, true
		case err != nil:
			t.Fatalf("next: %v", err)
		case e == nil:
			return got, false
		}
		got = append(got, e.Index)
	}
}

// expect fails unless w has exactly the events of these indexes now, and
// whether it ended is as said.
func expect(t testing.TB, w *Watcher, ended bool, want ...uint64) {
	t.Helper()
	got, over := drain(t, w)
	if !slices.Equal(got, want) || over != ended {
		t.Fatalf("got %v, ended %v; want %v, ended %v", got, over, want, ended)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deadline is a context for what must not take long.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
