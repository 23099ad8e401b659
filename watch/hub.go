package watch

import (
	"sync"

	"github.com/witan-kv/witan/store"
)

// Source is the history on disk that a hub looks back into.
type Source interface {
	// Events returns changes with indexes in [from, to], ascending and without
	// a gap, at most max of them, and none only if there are none. A *store.Error
	// with CodeEventIndexCleared says that from lies before what is kept. Whatever
	// was handed to Publish is there, or was there and has been cleared. It may
	// do I/O; many goroutines call it, none of them holds a lock of this package.
	Events(from, to uint64, max int) ([]*store.Event, error)
}

// Hub passes the events of one key group, or of a Merge, on to watchers.
// All methods may be called from many goroutines at once, but Publish
// and Skip only from one at a time.
type Hub struct {
	src Source

	// mu guards all below and, with their own locks, the watchers. Nothing that
	// waits or does I/O happens under it.
	mu     sync.Mutex
	last   uint64 // everything at or below it has been published
	tail   tail
	live   tree
	all    map[*Watcher]struct{} // those in live and those that still look back
	closed bool
}

// NewHub returns a hub that has published everything up to last, which src
// has. It keeps about tailBytes of the newest events in memory.
func NewHub(src Source, last uint64, tailBytes int) *Hub {
	return &Hub{
		src:  src,
		last: last,
		tail: tail{limit: tailBytes, start: last + 1},
		all:  map[*Watcher]struct{}{},
	}
}

// Publish passes on events, which must be all there are above Last and at or
// below frontier, in order of their indexes. An event at or below Last is a
// repetition and passed over. Publish neither waits nor does I/O; a watcher
// that has no room left looks back for the rest.
func (h *Hub) Publish(frontier uint64, events ...*store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for _, e := range events {
		if e.Index <= h.last {
			continue
		}
		h.last = e.Index
		h.tail.push(e)
		h.tellLocked(e)
	}
	h.last = max(h.last, frontier)
}

// Skip says that everything up to frontier has happened and is to be had from
// the Source only. The tail is dropped and each watcher looks back from where
// it is; one for which the Source no longer has what it needs is ended.
func (h *Hub) Skip(frontier uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || frontier <= h.last {
		return
	}
	for w := range h.all {
		if w.place != nil {
			h.live.remove(w)
			w.setBack(max(w.pos, h.last+1))
		}
	}
	h.tail.restart(frontier + 1)
	h.last = frontier
}

// Close ends every watcher. Nothing is published or watched from then on.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.endAllLocked()
	h.tail.restart(h.last + 1)
}

// Last returns the index up to which everything has been published.
func (h *Hub) Last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Watchers returns how many watchers wait for events or look back.
func (h *Hub) Watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// tellLocked queues e for every live watcher that wants it.
func (h *Hub) tellLocked(e *store.Event) {
	// Many may watch one key, and whether a removal took it is searched for
	// among all keys that it took: ask once for neighbours alike.
	var asked Request
	var answer, known bool
	h.live.candidates(e, func(w *Watcher) {
		if e.Index < w.pos {
			return
		}
		if !known || w.req.Recursive != asked.Recursive || w.req.Key != asked.Key {
			asked, answer, known = w.req, w.req.wants(e), true
		}
		if !answer {
			return
		}
		switch ok := w.push(e); {
		case !ok:
			h.live.remove(w)
			w.setBack(e.Index)
		case !w.req.Stream:
			h.endLocked(w, served)
		}
	})
}

// ending is why a watcher ends.
type ending uint8

const (
	served ending = iota // it was no stream and got its event
	left                 // its reader closed it
	cut                  // the hub could not or would not go on with it
)

// endLocked takes w off the hub. This is the only way a watcher ends, and
// nothing happens the second time.
func (h *Hub) endLocked(w *Watcher, why ending) {
	if _, ok := h.all[w]; !ok {
		return
	}
	delete(h.all, w)
	if w.place != nil {
		h.live.remove(w)
	}
	w.setOver(why)
}

func (h *Hub) end(w *Watcher, why ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endLocked(w, why)
}

func (h *Hub) endAllLocked() {
	for w := range h.all {
		h.endLocked(w, cut)
	}
}
