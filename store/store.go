package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"
)

// Options says what to open. Dir, Groups and FirstIndex have no defaults.
type Options struct {
	Dir    string // of this group alone; made if missing
	Group  int    // 0…Groups-1
	Groups int    // key groups of the cluster; this one hands out indexes ≡ Group (mod Groups)

	// FirstIndex is the frontier of a new store: the first event of one group
	// gets the index after it. A store that has data keeps its own.
	FirstIndex uint64

	// Must says that there is a store: none at all is a damaged one.
	Must bool
	// Rebuild opens a store that was condemned, and makes one if there is none.
	Rebuild bool

	History       int           // events kept for watchers that ask for the past; 0 means 100,000
	FlushInterval time.Duration // longest time between Apply and the disk; 0 means 250 ms
	CacheBytes    int64         // of newest versions kept in memory, roughly; 0 means 128 MiB by the number of groups
	Logger        zerolog.Logger

	// Room is called before the disk is written, by several goroutines, and may make room on it. It may be nil.
	Room func()
}

func (o *Options) makeRoom() {
	if o.Room != nil {
		o.Room()
	}
}

// The defaults of Options.
const (
	DefaultHistory       = 100_000
	DefaultFlushInterval = 250 * time.Millisecond
	DefaultCacheBytes    = 128 << 20 // of all groups together
)

func (o *Options) setDefaults() {
	if o.History == 0 {
		o.History = DefaultHistory
	}
	if o.FlushInterval == 0 {
		o.FlushInterval = DefaultFlushInterval
	}
	if o.CacheBytes == 0 && o.Groups > 0 {
		o.CacheBytes = DefaultCacheBytes / int64(o.Groups)
	}
}

// validate returns everything that is wrong with the options.
func (o *Options) validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("store: Dir is empty"))
	}
	if o.Groups < 1 || o.Group < 0 || o.Group >= o.Groups {
		errs = append(errs, fmt.Errorf("store: there is no group %d of %d", o.Group, o.Groups))
	}
	if o.History < 0 {
		errs = append(errs, fmt.Errorf("store: History is %d", o.History))
	}
	if o.CacheBytes < 0 {
		errs = append(errs, fmt.Errorf("store: CacheBytes is %d", o.CacheBytes))
	}
	if o.FlushInterval < 0 {
		errs = append(errs, fmt.Errorf("store: FlushInterval is %v", o.FlushInterval))
	}
	return errors.Join(errs...)
}

// Store is one replica of one group's key tree. Apply is called by one
// goroutine at a time; everything else by any number, at any time, after Close
// too.
type Store struct {
	opt    Options
	kv     kv
	commit committer
	counts counts

	// applyMu is held by Apply, by the committer while it takes a generation,
	// and by Restore. It guards what follows.
	applyMu  sync.Mutex
	repeats  repeats
	digest   digest
	upcoming []uint64   // indexes of the events after the oldest; see nextEvent
	staged   []mutation // memory of the last step, used again

	lock      *os.File // of the directory, held until the store is closed
	closing   chan struct{}
	patrols   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error

	restoring sync.Mutex // one Restore at a time; guards seq
	seq       uint64     // number of the database in use

	mu        sync.Mutex
	retired   []*database // replaced by Restore, perhaps still read
	snapshots map[*Snapshot]struct{}
}

// Open opens the store in o.Dir, or makes one, and starts the committer.
// Log entries up to Applied are in it; those after are to be applied again.
//
// An error that is ErrDamaged says that there is a store that cannot be used;
// other errors (it is in use, no space, it belongs to another group) say
// nothing about the data.
func Open(o Options) (_ *Store, err error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{opt: o, closing: make(chan struct{}), snapshots: map[*Snapshot]struct{}{}}
	s.commit.init(o.FlushInterval)
	s.kv.recent = newRecent(o.CacheBytes)
	if s.lock, err = openLock(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if !o.Rebuild {
		if err := condemned(o.Dir); err != nil {
			return nil, err
		}
	}
	if err := s.openCurrent(); err != nil {
		return nil, err
	}
	if err := s.shrinkHistory(); err != nil {
		s.kv.db.retire(false)
		return nil, err
	}
	go s.runCommitter()
	s.patrols.Go(s.patrol)
	return s, nil
}

// openCurrent opens the database that CURRENT names, or makes the first one.
func (s *Store) openCurrent() error {
	seq, err := s.findDatabase()
	if errors.Is(err, errNoDatabase) {
		if s.opt.Must && !s.opt.Rebuild {
			return fmt.Errorf("store: %s holds no store any more: %w", s.opt.Dir, ErrDamaged)
		}
		seq, err = 1, s.makeFirst()
	}
	if err != nil {
		return err
	}
	db, l, err := s.openLedger(databaseDir(s.opt.Dir, seq))
	if err != nil {
		return err
	}
	if err := removeOthers(s.opt.Dir, seq); err != nil {
		db.retire(false)
		return err
	}
	s.seq = seq
	s.adopt(db, l)
	return nil
}

// openLedger opens a database and reads its ledger.
func (s *Store) openLedger(dir string) (*database, ledger, error) {
	return s.openLedgerWith(badgerOptions(dir).WithSyncWrites(true))
}

func (s *Store) openLedgerWith(o badger.Options) (_ *database, _ ledger, err error) {
	dir := o.Dir
	if _, err := os.Stat(dir); err != nil {
		return nil, ledger{}, fmt.Errorf("store: %w: %w", err, ErrDamaged)
	}
	db, err := openBadger(o, &s.opt)
	if err != nil {
		return nil, ledger{}, err
	}
	defer func() {
		if err != nil {
			db.retire(false)
		}
	}()
	record, err := db.readLedger()
	if errors.Is(err, errLayout) {
		return nil, ledger{}, fmt.Errorf("store: %s: %w", dir, err)
	}
	if err != nil {
		return nil, ledger{}, fmt.Errorf("store: %s: ledger: %w: %w", dir, err, ErrDamaged)
	}
	if err := db.contradicted(db.manifest); err != nil {
		return nil, ledger{}, fmt.Errorf("store: %s: %w", dir, err)
	}
	l, err := decodeLedger(record)
	if err != nil {
		return nil, ledger{}, fmt.Errorf("store: %s: %w: %w", dir, err, ErrDamaged)
	}
	if l.group != s.opt.Group || l.groups != s.opt.Groups {
		return nil, ledger{}, fmt.Errorf("store: %s is of group %d of %d, not of group %d of %d",
			dir, l.group, l.groups, s.opt.Group, s.opt.Groups)
	}
	return db, l, db.dropUnvouched(l.head.frontier)
}

// makeFirst makes the first database. CURRENT names it when it is complete.
func (s *Store) makeFirst() error {
	l := ledger{group: s.opt.Group, groups: s.opt.Groups, head: head{frontier: s.opt.FirstIndex}}
	db, err := openDatabase(databaseDir(s.opt.Dir, 1), &s.opt, true)
	if err != nil {
		return err
	}
	err = db.writeLedger(l.encode())
	db.retire(false)
	if err = errors.Join(err, db.err); err != nil {
		return err
	}
	return writeCurrent(s.opt.Dir, 1)
}

// adopt goes on with a database and returns the one used so far, nil at first.
// Nothing is being applied or committed.
func (s *Store) adopt(db *database, l ledger) *database {
	s.repeats, s.upcoming = l.repeats, nil
	s.commit.trimmed = l.trimmed
	old := s.kv.replace(db, l.head)
	s.commit.reached(durable{head: l.head, ledger: l.encode()}, s.commit.pending.Load())
	return old
}

// shrinkHistory applies a lower Options.History than the store was used with.
func (s *Store) shrinkHistory() error {
	v, err := s.kv.latest()
	if err != nil {
		return err
	}
	defer v.release()
	h := v.head
	if err := s.trimHistory(&v, &h, nil); err != nil {
		return err
	}
	s.kv.publish(nil, h)
	return nil
}

// Applied returns the position of the last log entry that is on the disk.
func (s *Store) Applied() uint64 { return s.commit.last().head.raftIndex }

// Frontier returns the highest index that the group can no longer go below.
func (s *Store) Frontier() uint64 { return s.kv.current().frontier }

// Position returns the frontier and the log position of the last command
// applied, on the disk or not.
func (s *Store) Position() (index, raftIndex uint64) {
	h := s.kv.current()
	return h.frontier, h.raftIndex
}

// Clock returns the group clock in nanoseconds and how many nodes have a TTL.
// While there are none the clock need not run.
func (s *Store) Clock() (now int64, keys int) {
	h := s.kv.current()
	return h.clock, h.timed
}

// Digest returns the running hash of everything applied up to the log
// position. Replicas with equal positions have equal hashes.
func (s *Store) Digest() (raftIndex, index, hash uint64) {
	h := s.kv.current()
	return h.raftIndex, h.frontier, h.hash
}

// Failed is closed when the store is broken: it can no longer be written, or
// Apply could not read it. Err says why.
func (s *Store) Failed() <-chan struct{} { return s.commit.failed }

// Err returns why the store takes no more commands, ErrClosed after Close, or
// nil.
func (s *Store) Err() error { return s.commit.reason() }

// Flush returns when everything that was applied before the call is durable.
func (s *Store) Flush() error {
	c := &s.commit
	target := s.kv.current().raftIndex
	signal(c.urgent)
	c.mu.Lock()
	defer c.mu.Unlock()
	// Restore may go back, so that the target is never reached any more.
	for c.durable.head.raftIndex < min(target, s.kv.current().raftIndex) {
		if c.err != nil {
			return c.err
		}
		c.moved.Wait()
	}
	return nil
}

// Close writes what is pending, waits for readers and closes the database.
// Snapshots that are being written end with ErrClosed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.shutDown() })
	return s.closeErr
}

func (s *Store) shutDown() error {
	close(s.closing)
	s.patrols.Wait()
	close(s.commit.stop)
	<-s.commit.stopped
	err := s.commit.reason()
	s.commit.committing.Lock() // a Restore switches before this, or not at all
	s.commit.finish()
	s.kv.close()
	s.commit.committing.Unlock()
	s.closeSnapshots()

	s.mu.Lock()
	all := append(s.retired, s.kv.db)
	s.mu.Unlock()
	s.kv.db.retire(false)
	for _, db := range all {
		<-db.closed
		err = errors.Join(err, db.err)
		if errors.Is(db.err, ErrDamaged) { // since patrol has ended
			s.condemn(db.err)
		}
	}
	return errors.Join(err, s.lock.Close())
}

var _ io.Closer = (*Store)(nil)
