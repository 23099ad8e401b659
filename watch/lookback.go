package watch

import (
	"errors"
	"fmt"

	"github.com/witan-kv/witan/store"
)

// A watcher that looks back takes the history page by page, so that neither a
// lock is held long nor much memory held for a slow reader.
const (
	pageEvents = 256
	pageBytes  = 1 << 20 // aimed at, for pages from the Source
	firstPage  = 16      // events of the first page, when their weight is not known yet
)

// Watch accepts a watcher. Whatever happens from req.From on, or after
// Index if that is 0, will reach it. The caller closes it.
//
// The error is a *store.Error with CodeEventIndexCleared when req.From lies
// before the history (contract §2.3), ErrEnded when the hub is closed, or the
// wrapped error of the Source. Only for a From in the past is the Source
// asked, once, for the event at that index.
func (h *Hub) Watch(req Request) (*Watcher, error) {
	if last := h.Last(); req.From != 0 && req.From <= last {
		if err := h.checkKept(req.From, last); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrEnded
	}
	w := &Watcher{hub: h, req: req, index: h.last, pos: req.From, size: firstPage}
	if req.From == 0 {
		w.pos = h.last + 1
	}
	h.all[w] = struct{}{}
	if w.pos > h.last {
		h.goLiveLocked(w)
	}
	return w, nil
}

// checkKept returns an error if the history no longer has from. The tail is
// not asked although it may have more: what counts as cleared must be the same
// on every member and after every restart.
func (h *Hub) checkKept(from, last uint64) error {
	_, err := h.src.Events(from, from, 1)
	if cleared := asCleared(err); cleared != nil {
		return &store.Error{Code: cleared.Code, Cause: cleared.Cause, Index: last}
	}
	if err != nil {
		return fmt.Errorf("watch: read the history at index %d: %w", from, err)
	}
	return nil
}

// asCleared returns err as the error that says that history is gone, or nil.
func asCleared(err error) *store.Error {
	var e *store.Error
	if errors.As(err, &e) && e.Code == store.CodeEventIndexCleared {
		return e
	}
	return nil
}

// goLiveLocked registers w, which has been offered all that is published.
func (h *Hub) goLiveLocked(w *Watcher) {
	h.live.add(w)
	w.setLive()
}

// advance moves the cursor of w on by one page of the tail, or of the Source
// if the tail does not reach back that far. The last page of the tail and the
// registration are one step under the lock: no event can fall between them.
// Only the reader of w calls it.
func (h *Hub) advance(w *Watcher) error {
	var buf [pageEvents]*store.Event
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.all[w]; !ok {
		return nil // ended meanwhile: Next finds out
	}
	i, ok := h.tail.find(w.pos)
	if !ok {
		return h.readBackLocked(w)
	}
	page := h.tail.page(i, buf[:])
	if len(page) < h.tail.n-i {
		h.mu.Unlock()
		done := w.scan(page)
		h.mu.Lock()
		if done {
			h.endLocked(w, served)
		}
		return nil
	}
	if w.scan(page) {
		h.endLocked(w, served)
		return nil
	}
	h.goLiveLocked(w)
	return nil
}

// readBackLocked moves the cursor of w on by one page of the Source. It lets
// go of h.mu while it reads.
func (h *Hub) readBackLocked(w *Watcher) error {
	to := h.last
	h.mu.Unlock()
	events, err := h.src.Events(w.pos, to, w.size)
	done := err == nil && w.scan(events)
	h.mu.Lock()
	switch {
	case done:
		h.endLocked(w, served)
	case err == nil && len(events) == 0:
		w.pos = to + 1
	case err == nil:
		w.resize(events)
	default:
		if _, ok := h.all[w]; !ok {
			return nil // ended meanwhile, perhaps together with the Source
		}
		h.endLocked(w, cut)
		if asCleared(err) == nil {
			return fmt.Errorf("watch: read the history from index %d: %w", w.pos, err)
		}
	}
	return nil
}

// scan moves the cursor over events, keeps those that are wanted for Next, and
// reports whether the watcher has all it wants.
func (w *Watcher) scan(events []*store.Event) (done bool) {
	for _, e := range events {
		w.pos = e.Index + 1
		if !w.req.wants(e) {
			continue
		}
		w.page = append(w.page, e)
		if !w.req.Stream {
			return true
		}
	}
	return false
}

// resize makes the next page about pageBytes heavy, going by this one.
func (w *Watcher) resize(events []*store.Event) {
	bytes := 0
	for _, e := range events {
		bytes += weight(e)
	}
	w.size = min(pageEvents, max(1, pageBytes*len(events)/bytes))
}
