package store

import (
	"sync"
	"sync/atomic"
	"time"
)

// How much may be pending: from urgentBytes on it is written at once, above
// fullBytes Apply waits, and raft with it.
const (
	urgentBytes = 2 << 20
	fullBytes   = 16 << 20
)

// committer writes what Apply left in the overlay to the disk, all that is
// pending in one go, a few times a second while there is something.
// It sleeps while there is nothing.
type committer struct {
	interval time.Duration
	pending  atomic.Int64  // bytes in the overlay
	wake     chan struct{} // something is pending
	urgent   chan struct{} // and should be written now
	stop     chan struct{}
	stopped  chan struct{}

	// committing is held while a generation is taken, written and dropped.
	committing sync.Mutex
	trimmed    uint64 // no stretch of the history ends below this index

	mu      sync.Mutex
	moved   sync.Cond // durable, err or pending has changed
	durable durable
	err     error
	failed  chan struct{} // closed when err is set by something that broke
}

// durable is what is certainly on the disk.
type durable struct {
	head   head
	ledger []byte
}

func (c *committer) init(interval time.Duration) {
	c.interval = interval
	c.wake, c.urgent = make(chan struct{}, 1), make(chan struct{}, 1)
	c.stop, c.stopped = make(chan struct{}), make(chan struct{})
	c.failed = make(chan struct{})
	c.moved.L = &c.mu
}

// signal makes a channel of capacity one ready.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// note says that a command was applied and the overlay has grown.
func (c *committer) note(grown int64) {
	if c.pending.Add(grown) > urgentBytes {
		signal(c.urgent)
	}
	signal(c.wake)
}

// room waits until Apply may go on, and returns the reason if it never may.
func (c *committer) room() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pending.Load() > fullBytes && c.err == nil {
		c.moved.Wait()
	}
	return c.err
}

// fail notes that the store is broken, and reports whether that is news. The first reason stays.
func (c *committer) fail(err error) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = err
	close(c.failed)
	c.moved.Broadcast()
	return true
}

// finish makes everything that waits, or comes later, end with ErrClosed.
func (c *committer) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = ErrClosed
	}
	c.moved.Broadcast()
}

// reached notes what is on the disk now.
func (c *committer) reached(d durable, written int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.durable = d
	c.pending.Add(-written)
	c.moved.Broadcast()
}

func (c *committer) last() durable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.durable
}

func (c *committer) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// runCommitter is one of the store's two goroutines; the other one is patrol.
func (s *Store) runCommitter() {
	c := &s.commit
	defer close(c.stopped)
	timer := time.NewTimer(c.interval)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
		case <-c.stop:
			s.writePending()
			return
		}
		timer.Reset(c.interval)
		select {
		case <-timer.C:
		case <-c.urgent:
		case <-c.stop:
		}
		s.writePending()
	}
}

// writePending makes everything durable that was applied when it began.
func (s *Store) writePending() {
	c := &s.commit
	c.committing.Lock()
	defer c.committing.Unlock()
	if c.reason() != nil {
		return
	}
	s.opt.makeRoom()
	s.applyMu.Lock()
	l, g := s.ledgerLocked(), s.kv.rotate()
	record := l.encode()
	s.applyMu.Unlock()
	s.writeGeneration(g, durable{head: l.head, ledger: record})
}

// writeGeneration makes a generation and the ledger of its end durable, and
// drops it from the overlay. The caller holds committing.
func (s *Store) writeGeneration(g *generation, d durable) {
	c := &s.commit
	if d.head == c.last().head {
		s.kv.drop(d.head.newest)
		return
	}
	if err := s.write(g, d.ledger); err != nil {
		// The generation stays in the overlay: reads are right to the end.
		c.fail(err)
		s.opt.Logger.Error().Err(err).Msg("the store cannot be written; it takes no more changes")
		return
	}
	s.kv.drop(d.head.newest)
	c.reached(d, g.bytes)
	s.discard()
}

// write writes the versions, and the ledger that vouches for them once they
// are safe. With them go deletions of old history.
func (s *Store) write(g *generation, record []byte) error {
	trim := s.trimmable()
	if g.bytes > 0 || len(trim) > 0 {
		if err := s.kv.db.write(g, trim); err != nil {
			return err
		}
	}
	if len(trim) > 0 {
		s.commit.trimmed = trim[len(trim)-1] + 1
	}
	// Before the ledger vouches for it.
	if err := s.kv.db.failure(); err != nil {
		return err
	}
	return s.kv.db.writeLedger(record)
}

// The history is not deleted before so many events can be, because finding
// them costs a scan, and not more than so many stretches at once.
const (
	trimAtLeast = 256
	trimAtMost  = 8192
)

// trimmable returns where stretches end that are on the disk still although the
// history on the disk begins later and nobody reads them.
func (s *Store) trimmable() []uint64 {
	c := &s.commit
	h := c.last().head
	if !h.dropped {
		return nil
	}
	end := s.kv.db.lowest(h.oldest)
	if end < c.trimmed+trimAtLeast*uint64(s.opt.Groups) {
		return nil
	}
	return s.kv.db.stretchesBelow(c.trimmed, end, trimAtMost)
}

// discard lets Badger forget the versions that neither the history nor a view
// needs: the node before the oldest event is the last one of interest.
func (s *Store) discard() {
	h := s.commit.last().head
	s.kv.db.discardBelow(s.kv.db.lowest(historyBase(&h)))
}

// ledgerLocked returns the ledger of what is applied now. applyMu is held, and
// the repeats in the result are good only as long.
func (s *Store) ledgerLocked() ledger {
	return ledger{
		group: s.opt.Group, groups: s.opt.Groups,
		head: s.kv.current(), trimmed: s.commit.trimmed, repeats: s.repeats,
	}
}
