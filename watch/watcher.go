package watch

import (
	"context"
	"errors"
	"sync"

	"github.com/witan-kv/witan/store"
)

// ErrEnded says that no more events will come from a watcher, or that the hub
// is closed. A client goes on with a new watcher from the index after the last
// event it got.
var ErrEnded = errors.New("watch: the watcher has ended")

// The most a stream's reader can be behind before it has to look back for the
// rest. It may always have one event, however heavy.
const (
	queueEvents = 256
	queueBytes  = 4 << 20
)

// Watcher hands one client the events it asked for. It is a cursor that looks
// back until it has reached the newest event, and from then on a queue that
// the hub fills.
//
// One goroutine at a time, the reader, may call Next and Poll. All other
// methods may be called from any goroutine.
type Watcher struct {
	hub   *Hub
	req   Request
	index uint64

	// pos is the lowest index the watcher has not been offered yet. While it
	// looks back it belongs to the reader; while it is live it is guarded by
	// hub.mu.
	pos uint64

	// Owned by the reader.
	page []*store.Event // found while looking back, to be returned before anything queued
	size int            // how many events to ask the Source for
	wake wakeup         // what Next waits for; made when it first waits

	// Guarded by hub.mu. place is nil unless the watcher is live.
	place *place
	slot  int

	// mu is taken after hub.mu where both are held.
	mu    sync.Mutex
	live  bool // in the tree of the hub; otherwise it looks back from pos
	over  bool // off the hub; what is queued may still be read
	cut   bool // over although the client could have had more
	queue []*store.Event
	bytes int           // weight of queue
	waker Waker         // of the reader that waits; nil if none does
	ended chan struct{} // made when first asked for
}

// Waker is told that a watcher it waits for has something to say. Wake is
// called on the goroutine of the publisher, with locks held: it must not wait,
// and not call the watcher or its hub.
type Waker interface{ Wake() }

// wakeup is the Waker of Next.
type wakeup chan struct{}

func (w wakeup) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Index returns the hub's last index when the watcher was accepted: the
// X-Etcd-Index of the response. Whatever the watcher is told without having
// asked for the past has a higher index.
func (w *Watcher) Index() uint64 { return w.index }

// Next returns the next event the watcher wants, and waits for it if need be.
// Events come in index order, each once. The error is ErrEnded when nothing
// more will come: the only event of a watcher that is no stream was returned,
// its position is no longer in the history, the hub was closed, or the watcher
// closed. It is ctx.Err() when ctx ended
// first, and the wrapped error of the Source when the history could not be
// read, which ends the watcher too.
func (w *Watcher) Next(ctx context.Context) (*store.Event, error) {
	if w.wake == nil {
		w.wake = make(wakeup, 1)
	}
	for {
		e, next := w.take(w.wake)
		switch next {
		case stepReturn:
			return e, nil
		case stepEnd:
			return nil, ErrEnded
		case stepLookBack:
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := w.hub.advance(w); err != nil {
				return nil, err
			}
		case stepWait:
			select {
			case <-w.wake:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// Poll is Next for a reader that serves many watchers. It does not wait: nil
// and no error say that there is no event now, and that waker will be called,
// once, when it is time to ask again. That may be at once: Poll looks back by
// no more than a page. A nil waker is not called.
func (w *Watcher) Poll(waker Waker) (*store.Event, error) {
	for looked := false; ; looked = true {
		e, next := w.take(waker)
		switch {
		case next == stepReturn:
			return e, nil
		case next == stepEnd:
			return nil, ErrEnded
		case next == stepLookBack && !looked:
			if err := w.hub.advance(w); err != nil {
				return nil, err
			}
			continue
		case next == stepLookBack && waker != nil:
			waker.Wake()
		}
		return nil, nil
	}
}

// Close takes the watcher off its hub. Calling it again does nothing. Next
// returns ErrEnded once it has returned what it had found before.
func (w *Watcher) Close() { w.hub.end(w, left) }

// Ended returns a channel that is closed when the hub has ended the watcher
// although more might have come: its position is no longer in the history, or
// the hub was closed. A reader that is stuck in handing on an event can give up then.
// It is not closed when the one event of a long poll was delivered, nor by Close.
func (w *Watcher) Ended() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = make(chan struct{})
		if w.cut {
			close(w.ended)
		}
	}
	return w.ended
}

// step is what the reader has to do next.
type step uint8

const (
	stepReturn   step = iota // hand out the event
	stepEnd                  // nothing will come
	stepLookBack             // move the cursor on
	stepWait                 // sleep until woken
)

// take takes the oldest event at hand, if there is one, and says how to go on.
// If that is to wait, waker is called when it is over.
func (w *Watcher) take(waker Waker) (*store.Event, step) {
	if len(w.page) > 0 {
		e := w.page[0]
		w.page[0] = nil
		w.page = w.page[1:]
		return e, stepReturn
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.queue) > 0:
		e := w.queue[0]
		w.queue[0] = nil
		if w.queue = w.queue[1:]; len(w.queue) == 0 {
			w.queue = nil
		}
		w.bytes -= weight(e)
		return e, stepReturn
	case w.over:
		return nil, stepEnd
	case !w.live:
		return nil, stepLookBack
	}
	w.waker = waker
	return nil, stepWait
}

// push queues e and wakes the reader. It reports false if there is no room.
func (w *Watcher) push(e *store.Event) bool {
	n := weight(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 && (len(w.queue) >= queueEvents || w.bytes+n > queueBytes) {
		return false
	}
	w.queue = append(w.queue, e)
	w.bytes += n
	w.wakeLocked()
	return true
}

// wakeLocked makes a waiting reader look again.
func (w *Watcher) wakeLocked() {
	if w.waker != nil {
		w.waker.Wake()
		w.waker = nil
	}
}

// setLive says that from now on the hub queues what comes.
func (w *Watcher) setLive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live = true
}

// setBack sends the reader, once it has emptied its queue, to look back from pos.
func (w *Watcher) setBack(pos uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.pos = false, pos
	w.wakeLocked()
}

// setOver says that the watcher is off the hub.
func (w *Watcher) setOver(why ending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	switch why {
	case left:
		w.queue, w.bytes = nil, 0
	case cut:
		w.cut = true
		if w.ended != nil {
			close(w.ended)
		}
	case served:
	}
	w.wakeLocked()
}
