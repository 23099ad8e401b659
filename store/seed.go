package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Seeder makes a store whose tree comes from a backup. To the log it is as
// empty as any new store: the first entry is yet to be applied.
type Seeder struct {
	opt    Options
	lock   *os.File
	db     *database
	ledger ledger
	digest digest

	// Nodes come in order, so Badger can write its tables at once where they
	// will stay. The notes of the expiry queue are in no order and wait.
	stream *badger.StreamWriter
	page   *z.Buffer
	last   string
	notes  []mutation
}

const (
	// seedPage is how many bytes of nodes are handed to Badger at once.
	seedPage = 1 << 20
	// seedTable is how big the tables of all groups together get, leastSeedTable
	// those of each at least. A StreamWriter makes tables of the last level,
	// which have 32 times the base size, and keeps up to 16 of them in memory
	// when the disk is slow.
	seedTable      = 8 << 20
	leastSeedTable = 2 << 20
)

// NewSeeder begins a store in o.Dir, where none is. Its frontier is
// o.FirstIndex, which lies above all indexes of the nodes to come; what
// happened up to there is not known to watchers.
func NewSeeder(o Options) (_ *Seeder, err error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	lock, err := openLock(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if seqs, err := listDatabases(o.Dir); err != nil {
		return nil, err
	} else if len(seqs) > 0 {
		return nil, fmt.Errorf("store: %s holds a store already", o.Dir)
	}
	options := badgerOptions(databaseDir(o.Dir, 1)).WithSyncWrites(false).
		WithBaseTableSize(max(int64(seedTable/o.Groups), leastSeedTable) / 32)
	db, err := openBadger(options, &o)
	if err != nil {
		return nil, err
	}
	h := head{frontier: o.FirstIndex, born: o.FirstIndex}
	s := &Seeder{
		opt: o, lock: lock, db: db, stream: db.badger.NewStreamWriter(), page: z.NewBuffer(seedPage, "seed"),
		ledger: ledger{group: o.Group, groups: o.Groups, head: h, repeats: repeats{}},
	}
	if err := s.stream.Prepare(); err != nil {
		s.stream.Cancel()
		return nil, errors.Join(fmt.Errorf("store: seed: %w", err), s.closeDatabase())
	}
	return s, nil
}

// Add puts a node into the store. Nodes come in the order of a backup.
func (s *Seeder) Add(n *SavedNode) error {
	h := &s.ledger.head
	place := nodePlace(n.Key)
	if n.ModifiedIndex > h.frontier {
		return fmt.Errorf("store: seed: %s was changed at %d, after %d", n.Key, n.ModifiedIndex, h.frontier)
	}
	if place <= s.last {
		return fmt.Errorf("store: seed: %s is not where it belongs", n.Key)
	}
	s.last = place
	r := record{
		dir: n.Dir, created: n.CreatedIndex, modified: n.ModifiedIndex,
		hasTTL: n.HasTTL, expiration: n.Expiration, value: n.Value,
	}
	if n.HasTTL {
		r.deadline = min(int64(n.Left), math.MaxInt64-1) // the clock starts at 0
		h.timed++
		s.notes = append(s.notes, mutation{queueKey(r.deadline, n.Key), version{index: n.ModifiedIndex, value: queued}})
	}
	m := mutation{place, version{index: n.ModifiedIndex, value: r.encode(n.ModifiedIndex)}}
	h.hash = s.digest.version(h.hash, &m)
	badger.KVToBuffer(&pb.KV{Key: []byte(place), Value: []byte(m.value), Version: firstVersion + m.index}, s.page)
	if s.page.LenNoPadding() < seedPage {
		return nil
	}
	return s.flush()
}

func (s *Seeder) flush() error {
	if err := s.stream.Write(s.page); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	s.page.Reset()
	return nil
}

// Finish completes the store and makes it durable. seed names the backup and
// is not empty. Whatever Finish returns, the Seeder is of no use afterwards.
func (s *Seeder) Finish(seed string) error {
	s.ledger.head.seed = seed
	if err := s.complete(); err != nil {
		return errors.Join(err, s.Abort())
	}
	if err := errors.Join(s.page.Release(), s.closeDatabase(), s.lock.Close()); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	return writeCurrent(s.opt.Dir, 1)
}

// complete writes what Add has left.
func (s *Seeder) complete() error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.stream.Flush(); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	batch := s.db.badger.NewManagedWriteBatch()
	defer batch.Cancel()
	for i := range s.notes {
		m := &s.notes[i]
		s.ledger.head.hash = s.digest.version(s.ledger.head.hash, m)
		e := versionEntry(m.place, m.version)
		if err := e.addTo(batch); err != nil {
			return fmt.Errorf("store: seed: %w", err)
		}
	}
	if err := batch.Flush(); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	s.ledger.head.hash = s.digest.position(&s.ledger.head)
	return s.db.writeLedger(s.ledger.encode())
}

// Abort ends without a store. What is in the directory is to be removed.
func (s *Seeder) Abort() error {
	s.stream.Cancel()
	return errors.Join(s.page.Release(), s.closeDatabase(), s.lock.Close())
}

func (s *Seeder) closeDatabase() error {
	s.db.retire(false)
	<-s.db.closed
	return s.db.err
}

// Seed names the copy that the tree began as, "" if it began empty.
func (s *Store) Seed() string { return s.kv.current().seed }

// Reseed makes the tree as it is the beginning of a new log under the given
// name: everything is kept but the log position, which is 0 again. It returns
// when that is durable, and does nothing if it was done before. It is not
// called together with Apply.
func (s *Store) Reseed(seed string) error {
	if s.Seed() == seed {
		return nil
	}
	if err := s.dropLeftovers(); err != nil {
		return err
	}
	s.applyMu.Lock()
	h := s.kv.current()
	h.raftIndex, h.seed = 0, seed
	s.kv.publish(nil, h)
	s.applyMu.Unlock()
	s.writePending()
	return s.commit.reason()
}

// dropLeftovers removes versions above the frontier. A commit that a crash cut
// short leaves such, and counts on the log to bring the same ones again; with
// another log they would appear out of nowhere when the frontier passes them.
func (s *Store) dropLeftovers() error {
	if err := s.Flush(); err != nil {
		return err
	}
	if s.kv.db.badger.MaxVersion() <= firstVersion+s.Frontier() {
		return nil
	}
	snap, err := s.Snapshot()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := snap.WriteTo(w, nil)
		w.CloseWithError(err)
		snap.Close()
		written <- err
	}()
	err = s.Restore(r, nil)
	r.CloseWithError(err) // ends the writer if it still writes
	return errors.Join(err, <-written)
}
