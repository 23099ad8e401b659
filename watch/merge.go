package watch

import (
	"cmp"
	"slices"
	"sync"

	"github.com/witan-kv/witan/store"
)

// Merge makes one sequence, in index order, of the events of all key groups,
// for the hub of the root (design §3). An event is released when the closed
// index, the lowest frontier of all groups, has reached it: nothing below it
// can come any more.
//
// Events that wait are queued, up to as many bytes as the tail of the hub may
// hold. If one idle group holds back more than that, which only happens while
// nobody waits and so nobody moves that group on, the queues are dropped
// and the hub has to read what was in them from its Source (Hub.Skip).
//
// All methods may be called from many goroutines at once; for each group, calls
// to Publish and Skip must come one after the other.
type Merge struct {
	out *Hub

	// mu guards all below, and makes the Merge the one publisher of out.
	mu        sync.Mutex
	frontiers []uint64
	closed    uint64 // the lowest frontier; what out has published
	queues    [][]*store.Event
	bytes     int    // weight of all that is queued
	limit     int    // of bytes
	highest   uint64 // no event above it has been seen
	lost      uint64 // of what is at or below it and above closed, some is not queued
	batch     []*store.Event
}

// NewMerge returns a merge that publishes to out, beginning after the groups'
// frontiers. Nobody else may publish to out.
func NewMerge(out *Hub, frontiers []uint64) *Merge {
	m := &Merge{
		out:       out,
		frontiers: slices.Clone(frontiers),
		closed:    slices.Min(frontiers),
		queues:    make([][]*store.Event, len(frontiers)),
		limit:     out.tail.limit,
		highest:   slices.Max(frontiers),
		lost:      slices.Max(frontiers), // what a group did before now was not seen here
	}
	out.Skip(m.closed)
	return m
}

// Publish says that group has come to frontier and that events are all it did
// on the way, in order of their indexes.
func (m *Merge) Publish(group int, frontier uint64, events ...*store.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.frontiers) == 1 && frontier > m.closed {
		m.frontiers[0], m.closed = frontier, frontier // nothing to wait for
		m.out.Publish(frontier, events...)
		return
	}
	for _, e := range events {
		if e.Index > m.frontiers[group] {
			m.queueLocked(group, e)
		}
	}
	m.moveLocked(group, frontier)
}

// Skip says that group has come to frontier and that what it did on the way is
// to be had from the hub's Source only.
func (m *Merge) Skip(group int, frontier uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skipLocked(group, frontier)
	m.moveLocked(group, frontier)
}

// Closed returns the index up to which everything has been released.
func (m *Merge) Closed() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// Lagging returns the groups whose frontier is below target, ascending.
func (m *Merge) Lagging(target uint64) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var groups []int
	for g, f := range m.frontiers {
		if f < target {
			groups = append(groups, g)
		}
	}
	return groups
}

// Pending returns the highest index at which there is, or may be, an event
// that waits for the closed index to reach it, and 0 if nothing waits.
func (m *Merge) Pending() (highest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.highest <= m.closed {
		return 0
	}
	return m.highest
}

// queueLocked keeps e until it can be released, or gives up the queues.
func (m *Merge) queueLocked(group int, e *store.Event) {
	m.highest = max(m.highest, e.Index)
	if e.Index <= m.lost {
		return // out will read it from its Source, with what was lost around it
	}
	m.queues[group] = append(m.queues[group], e)
	if m.bytes += weight(e); m.bytes > m.limit {
		clear(m.queues)
		m.bytes = 0
		m.lost = m.highest
	}
}

// skipLocked leaves everything up to frontier to the Source.
func (m *Merge) skipLocked(group int, frontier uint64) {
	if frontier <= m.frontiers[group] {
		return
	}
	m.highest = max(m.highest, frontier)
	m.lost = max(m.lost, frontier)
}

// moveLocked moves group on to frontier and releases what that closes.
func (m *Merge) moveLocked(group int, frontier uint64) {
	m.frontiers[group] = max(m.frontiers[group], frontier)
	before := m.closed
	m.closed = slices.Min(m.frontiers)
	if m.closed == before {
		return
	}
	batch := m.takeLocked()
	if m.lost > before {
		m.out.Skip(min(m.lost, m.closed))
	}
	m.out.Publish(m.closed, batch...)
	clear(batch)
}

// takeLocked takes what the closed index has reached off the queues and
// returns it in index order. The result is good until the next call.
func (m *Merge) takeLocked() []*store.Event {
	batch := m.batch[:0]
	for g, q := range m.queues {
		n := 0
		for n < len(q) && q[n].Index <= m.closed {
			m.bytes -= weight(q[n])
			batch = append(batch, q[n])
			n++
		}
		clear(q[:n])
		if n < len(q) {
			m.queues[g] = q[n:]
		} else {
			m.queues[g] = q[:0]
		}
	}
	slices.SortFunc(batch, func(a, b *store.Event) int { return cmp.Compare(a.Index, b.Index) })
	m.batch = batch
	return batch
}
