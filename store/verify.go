package store

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Report is what Verify found in a store.
type Report struct {
	Nodes, Directories, WithTTL int // Nodes counts files and directories
	Events                      int // in the history
	Index, RaftIndex, Hash      uint64
	Seed                        string
}

// Verify reads everything in the store of o, which is not in use, and checks
// it: checksums, the tree, the expiry queue, the history and what the ledger
// says of them. The error joins what is wrong; one that is ErrDamaged among
// them says that the store should be rebuilt from the other members.
func Verify(o Options) (_ Report, err error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return Report{}, err
	}
	s := &Store{opt: o, closing: make(chan struct{}), snapshots: map[*Snapshot]struct{}{}}
	s.commit.init(o.FlushInterval)
	lock, err := openLock(o.Dir)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	seq, err := s.currentDatabase()
	if err != nil {
		return Report{}, err
	}
	// Nothing is compacted while it is being looked at.
	options := badgerOptions(databaseDir(o.Dir, seq)).WithNumCompactors(0).WithVerifyValueChecksum(true)
	db, l, err := s.openLedgerWith(options)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		db.retire(false)
		<-db.closed
		err = errors.Join(err, db.err)
	}()
	if err := db.verifyChecksums(); err != nil {
		return Report{}, err
	}
	s.adopt(db, l)
	v, err := s.kv.latest()
	if err != nil {
		return Report{}, err
	}
	defer v.release()
	c := checker{store: s, view: &v, dirs: map[uint64]struct{}{xxhash.Sum64String(""): {}}}
	return c.run()
}

// currentDatabase is findDatabase for those who only look.
func (s *Store) currentDatabase() (uint64, error) {
	seq, err := s.findDatabase()
	if errors.Is(err, errNoDatabase) {
		return 0, fmt.Errorf("store: %s holds no store: %w", s.opt.Dir, ErrDamaged)
	}
	return seq, err
}

// verifyChecksums reads every block of every table. Badger takes a block with
// a wrong checksum for one without keys when it is asked for one of them.
func (d *database) verifyChecksums() (err error) {
	defer func() {
		if p := recover(); p != nil { // on some damage
			err = fmt.Errorf("store: %s: %v: %w", d.dir, p, ErrDamaged)
		}
	}()
	if err := d.badger.VerifyChecksum(); err != nil {
		return fmt.Errorf("store: %s: %w: %w", d.dir, err, ErrDamaged)
	}
	return nil
}

// checker collects what is wrong with the content of a store.
type checker struct {
	store  *Store
	view   *view
	dirs   map[uint64]struct{} // hashes of the directories so far
	report Report
	faults []error
}

// manyFaults is after how many faults no more are told one by one.
const manyFaults = 20

func (c *checker) fault(format string, args ...any) {
	switch {
	case len(c.faults) < manyFaults:
		c.faults = append(c.faults, fmt.Errorf("store: group %d: %s: %w", c.store.opt.Group, fmt.Sprintf(format, args...), ErrDamaged))
	case len(c.faults) == manyFaults:
		c.faults = append(c.faults, fmt.Errorf("store: group %d: there is more", c.store.opt.Group))
	}
}

func (c *checker) run() (Report, error) {
	h := &c.view.head
	c.report = Report{Index: h.frontier, RaftIndex: h.raftIndex, Hash: h.hash, Seed: h.seed}
	for _, check := range []func() error{c.nodes, c.queue, c.history} {
		if err := check(); err != nil {
			return c.report, errors.Join(errors.Join(c.faults...), fmt.Errorf("%w: %w", err, ErrDamaged))
		}
	}
	return c.report, errors.Join(c.faults...)
}

// nodes checks the tree. Directories come before what is in them.
func (c *checker) nodes() error {
	h := &c.view.head
	err := c.view.scan(string(rune(spaceNode)), string(rune(spaceNode+1)), h.frontier, func(place string, v version) bool {
		k, ok := parseNodePlace(place)
		r, err := decodeRecord(v.value, v.index)
		if !ok || err != nil {
			c.fault("the node at %q cannot be read", place)
			return true
		}
		c.node(k, &r)
		return true
	})
	if c.report.WithTTL != h.timed {
		c.fault("%d nodes have a TTL, the ledger says %d", c.report.WithTTL, h.timed)
	}
	return err
}

func (c *checker) node(k Key, r *record) {
	h := &c.view.head
	c.report.Nodes++
	if _, ok := c.dirs[xxhash.Sum64String(k.Parent().path)]; !ok {
		c.fault("%s is in no directory", k)
	}
	if r.dir {
		c.report.Directories++
		c.dirs[xxhash.Sum64String(k.path)] = struct{}{}
	}
	if r.created > r.modified || r.modified > h.frontier {
		c.fault("%s was created at %d and modified at %d, the group is at %d", k, r.created, r.modified, h.frontier)
	}
	if !r.hasTTL {
		return
	}
	c.report.WithTTL++
	if _, _, found, err := c.view.get([]byte(queueKey(r.deadline, k)), h.frontier); err != nil || !found {
		c.fault("%s is to expire and is not in the queue for it (%v)", k, err)
	}
}

// queue checks that whatever is to expire is there, and will be found.
func (c *checker) queue() error {
	h := &c.view.head
	notes := 0
	err := c.view.scan(string(rune(spaceQueue)), string(rune(spaceQueue+1)), h.frontier, func(place string, _ version) bool {
		notes++
		deadline, k, ok := parseQueueKey(place)
		if !ok {
			c.fault("the note at %q cannot be read", place)
			return true
		}
		r, found, err := c.view.record(k, h.frontier)
		if err != nil || !found || !r.hasTTL || r.deadline != deadline {
			c.fault("%s is in the expiry queue and is not to expire then (%v)", k, err)
		}
		if deadline < h.sweep {
			c.fault("%s should have expired already and never will", k)
		}
		return true
	})
	if notes != c.report.WithTTL {
		c.fault("the expiry queue has %d notes for %d nodes with a TTL", notes, c.report.WithTTL)
	}
	return err
}

// historyPage is how many events are read at once.
const historyPage = 1024

// history checks that every event that watchers may ask for can be told.
func (c *checker) history() error {
	h := &c.view.head
	group, groups := uint64(c.store.opt.Group), uint64(c.store.opt.Groups)
	var first, last uint64
	for from := h.oldest; h.count > 0 && from <= h.newest; {
		events, err := c.store.readEvents(c.view, from, h.frontier, historyPage)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		if first == 0 {
			first = events[0].Index
		}
		for _, e := range events {
			if e.Index%groups != group {
				c.fault("event %d is not of this group", e.Index)
			}
			last = e.Index
		}
		c.report.Events += len(events)
		from = last + 1
	}
	if c.report.Events != h.count || h.count > 0 && (first != h.oldest || last != h.newest) {
		c.fault("the history has %d events from %d to %d, the ledger says %d from %d to %d",
			c.report.Events, first, last, h.count, h.oldest, h.newest)
	}
	if h.newest > h.frontier {
		c.fault("the newest event is %d, the group is at %d", h.newest, h.frontier)
	}
	return nil
}
