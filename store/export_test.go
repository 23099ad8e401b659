package store

import "errors"

// Tear does what a power cut does to a commit: of what is pending, entries that
// keep says yes to are on the disk, and the ledger does not vouch for them. The
// store is of no use afterwards but to be closed.
func (s *Store) Tear(keep func() bool) error {
	s.commit.committing.Lock()
	defer s.commit.committing.Unlock()
	s.applyMu.Lock()
	g := s.kv.rotate()
	s.applyMu.Unlock()
	db := s.kv.db
	batch := db.badger.NewManagedWriteBatch()
	defer batch.Cancel()
	err := db.entries(g, s.trimmable(), func(e entry) error {
		if !keep() {
			return nil
		}
		return e.addTo(batch)
	})
	s.commit.fail(errors.New("power cut"))
	return errors.Join(err, batch.Flush())
}
