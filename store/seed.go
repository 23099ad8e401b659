package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// Seeder makes a store whose tree comes from a backup. To the log it is as
// empty as any new store: the first entry is yet to be applied.
type Seeder struct {
	opt    Options
	lock   *os.File
	db     *database
	batch  *badger.WriteBatch
	ledger ledger
	digest digest
}

// NewSeeder begins a store in o.Dir, where none is. Its frontier is
// o.FirstIndex, which lies above all indexes of the nodes to come; what
// happened up to there is not known to watchers. seed names the backup.
func NewSeeder(o Options, seed string) (_ *Seeder, err error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if seed == "" {
		return nil, errors.New("store: a seeded store needs the name of its seed")
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
	db, err := openDatabase(databaseDir(o.Dir, 1), o.Logger, false)
	if err != nil {
		return nil, err
	}
	h := head{frontier: o.FirstIndex, born: o.FirstIndex, seed: seed}
	return &Seeder{
		opt: o, lock: lock, db: db, batch: db.badger.NewManagedWriteBatch(),
		ledger: ledger{group: o.Group, groups: o.Groups, head: h, repeats: repeats{}},
	}, nil
}

// Add puts a node into the store. Its directory may come before or after it.
func (s *Seeder) Add(n *SavedNode) error {
	h := &s.ledger.head
	if n.ModifiedIndex > h.frontier {
		return fmt.Errorf("store: %s was changed at %d, after %d", n.Key, n.ModifiedIndex, h.frontier)
	}
	r := record{
		dir: n.Dir, created: n.CreatedIndex, modified: n.ModifiedIndex,
		hasTTL: n.HasTTL, expiration: n.Expiration, value: n.Value,
	}
	if n.HasTTL {
		r.deadline = min(int64(n.Left), math.MaxInt64-1) // the clock starts at 0
		h.timed++
		if err := s.put(queueKey(r.deadline, n.Key), queued, n.ModifiedIndex); err != nil {
			return err
		}
	}
	return s.put(nodePlace(n.Key), r.encode(n.ModifiedIndex), n.ModifiedIndex)
}

func (s *Seeder) put(place, value string, index uint64) error {
	m := mutation{place, version{index: index, value: value}}
	s.ledger.head.hash = s.digest.version(s.ledger.head.hash, &m)
	if err := writeVersion(s.batch, m.place, m.version); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	return nil
}

// Finish completes the store and makes it durable.
func (s *Seeder) Finish() error {
	err := s.batch.Flush()
	if err == nil {
		s.ledger.head.hash = s.digest.position(&s.ledger.head)
		err = s.db.writeLedger(s.ledger.encode())
	}
	if err = errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("store: seed: %w", err)
	}
	return writeCurrent(s.opt.Dir, 1)
}

// Abort ends without a store. What is in the directory is to be removed.
func (s *Seeder) Abort() error {
	s.batch.Cancel()
	return s.close()
}

func (s *Seeder) close() error {
	s.db.retire(false)
	<-s.db.closed
	return errors.Join(s.db.err, s.lock.Close())
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
