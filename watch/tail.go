package watch

import (
	"sort"

	"github.com/witan-kv/witan/store"
)

// tail is the newest part of the history, kept in memory for watchers that are
// nearly up to date. It is a cache: what it no longer has is in the Source.
//
// Invariant: every published event with an index of start or more is in it.
type tail struct {
	ring  []*store.Event // its length is a power of two, or 0
	head  int            // where the oldest event is
	n     int            // number of events
	bytes int            // sum of their weights
	limit int            // in bytes; the newest event is kept even if it is heavier
	start uint64
}

// restart drops everything; the tail is complete from start on.
func (t *tail) restart(start uint64) {
	*t = tail{limit: t.limit, start: start}
}

// push appends an event whose index is above all others and lets go of the
// oldest ones that no longer fit.
func (t *tail) push(e *store.Event) {
	if t.n == len(t.ring) {
		t.grow()
	}
	t.ring[(t.head+t.n)&(len(t.ring)-1)] = e
	t.n++
	t.bytes += weight(e)
	for t.bytes > t.limit && t.n > 1 {
		t.dropOldest()
	}
}

func (t *tail) dropOldest() {
	e := t.ring[t.head]
	t.ring[t.head] = nil
	t.head = (t.head + 1) & (len(t.ring) - 1)
	t.n--
	t.bytes -= weight(e)
	t.start = e.Index + 1
}

func (t *tail) grow() {
	ring := make([]*store.Event, max(16, 2*len(t.ring)))
	k := copy(ring, t.ring[t.head:])
	copy(ring[k:], t.ring[:t.head])
	t.ring, t.head = ring, 0
}

// at returns the i-th oldest event, 0 <= i < n.
func (t *tail) at(i int) *store.Event {
	return t.ring[(t.head+i)&(len(t.ring)-1)]
}

// find returns the position of the first event with an index of at least
// index, n if there is none. ok is false if events from index on are missing.
func (t *tail) find(index uint64) (i int, ok bool) {
	if index < t.start {
		return 0, false
	}
	return sort.Search(t.n, func(i int) bool { return t.at(i).Index >= index }), true
}

// page copies events from position i on into buf and returns what it copied.
func (t *tail) page(i int, buf []*store.Event) []*store.Event {
	n := min(len(buf), t.n-i)
	for j := range n {
		buf[j] = t.at(i + j)
	}
	return buf[:n]
}
