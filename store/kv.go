package store

import (
	"bytes"
	"errors"
	"math"
	"sync"
)

// Errors of reads beside what Badger says.
var (
	errGone = errors.New("the versions of that index are no longer kept")
	// ErrClosed says that the store is closed.
	ErrClosed = errors.New("store: closed")
)

// head is what is known of the tree beside the versions of its places: all
// small, copied as a whole, and published together with the versions.
type head struct {
	raftIndex uint64 // log position of the last command applied
	frontier  uint64 // highest index the group can no longer go below
	hash      uint64 // running hash of all versions and positions so far

	clock int64 // the group clock, nanoseconds
	timed int   // nodes with a TTL
	sweep int64 // nothing in the expiry queue is due before this

	// Invariant: the history holds exactly the events in [oldest, newest], of
	// which there are count. All three are 0 while there was no event.
	oldest, newest uint64
	count          int
	dropped        bool // there were older events

	// A tree that began as a copy of another one: the index it was copied at,
	// before which nothing is known, and the name of that copy. Zero otherwise.
	born uint64
	seed string
}

// begin returns the index of the first event that watchers may ask for.
func (h *head) begin() uint64 {
	switch {
	case h.dropped:
		return h.oldest
	case h.born > 0:
		return h.born + 1
	}
	return 0
}

// kv keeps many versions of every place: the latest ones in memory, in the
// overlay of one or two generations, and everything else in Badger.
//
// One goroutine at a time adds versions (Store.applyMu); any number read,
// through views. A reader looks at the overlay first and at Badger after. That
// way it misses nothing when the committer drops a generation in between,
// because that generation is then in Badger already.
type kv struct {
	mu       sync.RWMutex
	head     head
	active   *generation
	flushing *generation // being written to disk; nil when nothing is
	recent   recent
	durable  uint64 // the last event that is not in the overlay
	drops    uint64 // generations dropped
	db       *database
	closed   bool
}

// publishBatch is how many versions go into the overlay under one lock, so
// that removing a huge directory does not keep readers waiting.
const publishBatch = 1024

// publish adds versions and then makes them visible by replacing the head:
// readers at the old frontier do not see versions above it. It returns how
// many bytes the overlay has grown by.
func (s *kv) publish(staged []mutation, h head) int64 {
	var grown int64
	for len(staged) > publishBatch {
		s.mu.Lock()
		for _, m := range staged[:publishBatch] {
			grown += s.active.add(m)
		}
		s.mu.Unlock()
		staged = staged[publishBatch:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range staged {
		grown += s.active.add(m)
	}
	s.head = h
	return grown
}

// rotate makes the active generation the one that is written to disk.
// No other is being written, and no Apply is going on.
func (s *kv) rotate() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushing, s.active = s.active, newGeneration()
	return s.flushing
}

// drop forgets the generation that was written to disk, but for the newest
// versions of its nodes. durable is the last event that is on the disk now.
func (s *kv) drop(durable uint64) {
	var nodes []*chain
	for place, c := range s.flushing.chains {
		if place[0] == spaceNode {
			nodes = append(nodes, c)
		}
	}
	for len(nodes) > publishBatch {
		s.remember(nodes[:publishBatch])
		nodes = nodes[publishBatch:]
	}
	s.remember(nodes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushing, s.durable = nil, durable
	s.drops++
}

// remember enters the newest versions of the chains of the generation being written.
func (s *kv) remember(chains []*chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range chains {
		s.recent.put(c.place, c.versions[len(c.versions)-1])
	}
}

// replace continues with another database, whose content h describes. It
// returns the one used so far; views of that one go on reading it.
func (s *kv) replace(db *database, h head) *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.db
	s.db, s.head = db, h
	s.active, s.flushing, s.recent, s.durable = newGeneration(), nil, newRecent(s.recent.bytes), h.newest
	s.drops++
	return old
}

// current returns the head as it is now.
func (s *kv) current() head {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head
}

// view is a reader's hold on the store. What it reads is not discarded and its
// database not closed before it is released. It is used by one goroutine.
type view struct {
	kv   *kv
	db   *database
	head head
	low  uint64 // versions from here on are kept for this view

	window span // the last one that was looked for
}

// latest returns a view of the tree as it is now.
func (s *kv) latest() (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.holdLocked(s.head.frontier)
}

// since returns a view that may read at any index from low on, or errGone.
func (s *kv) since(low uint64) (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if begin := s.head.begin(); begin > 0 && low < begin-1 {
		return view{}, errGone
	}
	return s.holdLocked(min(low, s.head.frontier))
}

// hold returns a view whose versions from low on are kept, without asking
// whether they still are: the caller knows.
func (s *kv) hold(low uint64) (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.holdLocked(low)
}

func (s *kv) holdLocked(low uint64) (view, error) {
	if s.closed {
		return view{}, ErrClosed
	}
	s.db.hold(low)
	return view{kv: s, db: s.db, head: s.head, low: low}, nil
}

// release ends the view.
func (v *view) release() { v.db.release(v.low) }

// get returns what place held at the given index.
func (v *view) get(place []byte, at uint64) (value string, index uint64, found bool, err error) {
	p, known, now := v.known(place, at)
	if known {
		return p.value, p.index, !p.gone, nil
	}
	value, index, found, err = v.db.get(bytes.Clone(place), at, v.end(at, now.durable)) // a clone, so that callers can look up from their stack
	if err == nil {
		err = v.db.heard.compactions.complete()
	}
	if found && err == nil && place[0] == spaceNode && now.frontier == at {
		v.kv.learn(place, version{index: index, value: value}, v.db, now.drops)
	}
	return value, index, found, err
}

// end returns up to which index an entry of the disk may hold what a place held
// at one index, for a place of which the overlay had nothing that old at a
// moment when it had everything after durable. Only what was written before that
// moment can hide it in a pack with something newer.
func (v *view) end(at, durable uint64) uint64 {
	if at >= durable {
		return at
	}
	if at < v.window.from || at > v.window.to {
		v.window = v.db.window(at)
	}
	if !v.window.packed {
		return at
	}
	return v.window.to
}

// moment is what tells whether something has changed.
type moment struct {
	frontier uint64
	durable  uint64
	drops    uint64
}

// known looks a place up in memory. A view whose database was replaced does
// without: everything it may read was written to its database before.
func (v *view) known(place []byte, at uint64) (_ version, known bool, now moment) {
	v.kv.mu.RLock()
	defer v.kv.mu.RUnlock()
	if v.kv.db != v.db {
		return version{}, false, moment{durable: math.MaxUint64}
	}
	for _, g := range []*generation{v.kv.active, v.kv.flushing} {
		if g == nil {
			continue
		}
		if c := g.chains[string(place)]; c != nil {
			if p, ok := c.at(at); ok {
				return p, true, moment{}
			}
		}
	}
	if p, ok := v.kv.recent.get(place); ok && p.index <= at {
		return p, true, moment{}
	}
	return version{}, false, moment{frontier: v.kv.head.frontier, durable: v.kv.durable, drops: v.kv.drops}
}

// learn enters what was read of a place, the newest version at a moment with
// that many drops, if it certainly still is: what came since is in the overlay.
func (s *kv) learn(place []byte, v version, db *database, drops uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != db || s.drops != drops || s.active.chains[string(place)] != nil ||
		s.flushing != nil && s.flushing.chains[string(place)] != nil {
		return
	}
	s.recent.put(string(place), v)
}

// failed returns a channel that is closed when the database fails that is used now.
func (s *kv) failed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db.heard.failed.news
}

// close makes every later view fail.
func (s *kv) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
