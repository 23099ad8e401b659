package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// trace is a record of the history: which node an event changed, and how. The
// node and its predecessor are versions of the tree, kept anyway (design §6).
type trace struct {
	action  Action
	refresh bool
	clock   int64 // the group clock at the event: TTLs are shown as they were then
	key     Key
}

func (t *trace) encode() string {
	b := make([]byte, 0, 12+len(t.key.path))
	b = append(b, byte(t.action), 0)
	if t.refresh {
		b[1] = 1
	}
	b = binary.AppendVarint(b, t.clock)
	return string(append(b, t.key.path...))
}

func decodeTrace(s string) (trace, error) {
	in := cursor{rest: s}
	t := trace{action: Action(in.byte()), refresh: in.byte() == 1, clock: in.varint()}
	t.key.path = in.rest
	if in.err != nil || t.action < ActionCreate || t.action > ActionExpire || t.key.IsRoot() || !canonical(t.key.path) {
		return trace{}, fmt.Errorf("store: read history: %w", errMalformed)
	}
	return t, nil
}

// Events returns the events with indexes from…to, ascending, at most max of
// them. They equal those that Apply returned, Removed included. Indexes that
// have not happened yet are not waited for.
//
// The error is a *Error with code 401 if from is below the oldest event that
// is kept while something was dropped (contract §2.3); anything else says that
// the history cannot be read.
func (s *Store) Events(from, to uint64, max int) ([]*Event, error) {
	low := from
	if low > 0 {
		low-- // what was there before the first event
	}
	v, err := s.kv.since(low)
	if err != nil {
		return nil, s.historyError(err, from)
	}
	defer v.release()
	if from < v.head.begin() {
		return nil, s.historyError(errGone, from)
	}
	to = min(to, v.head.frontier)
	if max <= 0 || from > to {
		return nil, nil
	}
	return s.readEvents(&v, from, to, max)
}

func (s *Store) historyError(err error, from uint64) error {
	if !errors.Is(err, errGone) {
		return fmt.Errorf("store: read history: %w", err)
	}
	h := s.kv.current()
	return &Error{
		Code:  CodeEventIndexCleared,
		Cause: fmt.Sprintf("the requested history has been cleared [%d/%d]", h.begin(), from),
		Index: h.frontier,
	}
}

func (s *Store) readEvents(v *view, from, to uint64, max int) ([]*Event, error) {
	var events []*Event
	var failed error
	err := v.history(from, to, func(index uint64, trace string) bool {
		var e *Event
		if e, failed = s.readEvent(v, index, trace); failed != nil {
			return false
		}
		events = append(events, e)
		return len(events) < max
	})
	return events, s.suspect(errors.Join(err, failed))
}

// readEvent makes the event again that left the given trace.
func (s *Store) readEvent(v *view, index uint64, value string) (*Event, error) {
	t, err := decodeTrace(value)
	if err != nil {
		return nil, err
	}
	old, existed, err := v.record(t.key, index-1)
	if err != nil {
		return nil, err
	}
	e := &Event{Action: t.action, Index: index, Refresh: t.refresh}
	if existed {
		e.Prev = old.node(t.key, t.clock)
	}
	if t.action.Removes() {
		e.Node = removedNode(t.key, &old, index)
		if old.dir {
			e.removed = s.removedAt(index)
		}
		return e, nil
	}
	now, _, err := v.record(t.key, index)
	if err != nil {
		return nil, err
	}
	e.Node = now.node(t.key, t.clock)
	e.Node.ModifiedIndex = index
	return e, nil
}

// removedNode returns the node of an event that took r away.
func removedNode(k Key, r *record, index uint64) *Node {
	return &Node{Key: k, Dir: r.dir, CreatedIndex: r.created, ModifiedIndex: index}
}

// removedAt returns what Event.Removed asks for an event read from the
// history: a look at the tree as it was before. When that is no longer kept
// the answer is yes, because a watcher that is told of a removal too many
// looks again, and one that is told too few waits for ever.
func (s *Store) removedAt(index uint64) func(Key) bool {
	return func(k Key) bool {
		v, err := s.kv.since(index - 1)
		if err != nil {
			return true
		}
		defer v.release()
		_, found, err := v.record(k, index-1)
		return found || err != nil
	}
}

// trimHistory lets the oldest events go until h holds no more than are to be
// kept. staged is what is not published yet. The caller holds applyMu; the
// committer deletes the records later.
func (s *Store) trimHistory(v *view, h *head, staged []mutation) error {
	for h.count > s.opt.History {
		next, err := s.nextEvent(v, h, staged)
		if err != nil {
			return err
		}
		h.oldest, h.dropped = next, true
		h.count--
	}
	return nil
}

// upcomingEvents is how many indexes nextEvent looks up at once.
const upcomingEvents = 1024

// nextEvent returns the index of the event after the oldest one; there is one.
// When the indexes have no holes, as with one group, it is known without looking.
func (s *Store) nextEvent(v *view, h *head, staged []mutation) (uint64, error) {
	stride := uint64(s.opt.Groups)
	if h.newest-h.oldest == uint64(h.count-1)*stride {
		return h.oldest + stride, nil
	}
	for len(s.upcoming) > 0 && s.upcoming[0] <= h.oldest {
		s.upcoming = s.upcoming[1:]
	}
	if len(s.upcoming) == 0 {
		if err := s.lookUpEvents(v, h.oldest+1); err != nil {
			return 0, err
		}
	}
	if len(s.upcoming) > 0 {
		return s.upcoming[0], nil
	}
	for _, m := range staged {
		if index, ok := historyIndex(m.place); ok && index > h.oldest {
			return index, nil
		}
	}
	return 0, fmt.Errorf("store: no event after %d: %w", h.oldest, errMalformed)
}

// lookUpEvents reads the indexes of the next published events into s.upcoming.
func (s *Store) lookUpEvents(v *view, from uint64) error {
	s.upcoming = s.upcoming[:0]
	return v.history(from, v.head.frontier, func(index uint64, _ string) bool {
		s.upcoming = append(s.upcoming, index)
		return len(s.upcoming) < upcomingEvents
	})
}
