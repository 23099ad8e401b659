package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// damagedFile stands in the directory of a store that must not be used again,
// and says why.
const damagedFile = "DAMAGED"

// Condemn makes every later Open of the store in dir fail with ErrDamaged, but for one with Options.Rebuild.
func Condemn(dir, reason string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := writeSynced(filepath.Join(dir, damagedFile), []byte(reason+"\n")); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(dir)
}

// Acquit undoes Condemn, when the store has been rebuilt.
func (s *Store) Acquit() error {
	if err := os.Remove(filepath.Join(s.opt.Dir, damagedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(s.opt.Dir)
}

// condemned returns ErrDamaged if the store in dir must not be used.
func condemned(dir string) error {
	reason, err := os.ReadFile(filepath.Join(dir, damagedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("store: %s: %.300s: %w", filepath.Join(dir, damagedFile), reason, ErrDamaged)
}

// suspect looks at why a read failed and returns that. If the store is damaged, it takes no
// more commands and is not opened again: reads must not go on beside it, and
// only another replica can tell what was there.
func (s *Store) suspect(err error) error {
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, errMalformed) {
		return err
	}
	if s.commit.fail(err) {
		s.condemn(err)
	}
	return err
}

func (s *Store) condemn(reason error) {
	s.opt.Logger.Error().Err(reason).Msg("the store is damaged; it is not used again, and rebuilt at the next start")
	if err := Condemn(s.opt.Dir, reason.Error()); err != nil {
		s.opt.Logger.Error().Err(err).Msg("that the store is damaged cannot be written down")
	}
}

const (
	// glanceEvery is how often new tables are looked for, and patrolEvery how often the database is looked after.
	glanceEvery = 100 * time.Millisecond
	patrolEvery = time.Second
	// scrubEvery is after how many rounds of those a table is read and verified again.
	scrubEvery = 20
)

// patrol looks after the database, and hears at once of what Badger fails in.
func (s *Store) patrol() {
	ticker := time.NewTicker(glanceEvery)
	defer ticker.Stop()
	last, round, glances := uint64(0), 0, 0
	for {
		select {
		case <-s.kv.failed():
		case <-ticker.C:
			if glances++; time.Duration(glances)*glanceEvery < patrolEvery {
				s.glance()
				continue
			}
			glances, round = 0, round+1
		case <-s.closing:
			return
		}
		var failed bool
		if last, failed = s.lookAfter(round, last); failed {
			return
		}
	}
}

// glance tells the witness of new tables.
func (s *Store) glance() {
	v, err := s.kv.latest()
	if err != nil {
		return
	}
	defer v.release()
	v.db.testifyTables()
}

// lookAfter tells the witness of new tables and reads all of them again, one
// in so many rounds. It returns which was verified last, and whether the database has failed.
func (s *Store) lookAfter(round int, last uint64) (verified uint64, failed bool) {
	v, err := s.kv.latest()
	if err != nil {
		return last, false
	}
	defer v.release()
	if err := v.db.failure(); err != nil {
		if errors.Is(err, ErrDamaged) {
			_ = s.suspect(err) // it is told by Failed
		} else if s.commit.fail(err) {
			s.opt.Logger.Error().Err(err).Msg("the database has failed; the store takes no more changes")
		}
		return last, true
	}
	v.db.testify(witness{table: v.db.newestTable()})
	if round%scrubEvery == 0 {
		last = s.scrub(v.db, last)
	}
	return last, false
}

// scrub verifies the table after the one with a number, and returns its number.
func (s *Store) scrub(db *database, after uint64) uint64 {
	var next uint64
	for _, t := range db.badger.Tables() {
		if t.ID > after && (next == 0 || t.ID < next) {
			next = t.ID
		}
	}
	if next == 0 {
		return 0
	}
	if err := checkTable(tablePath(db.dir, next)); errors.Is(err, ErrDamaged) && !errors.Is(err, fs.ErrNotExist) { // compacted meanwhile
		_ = s.suspect(err) // it is told by Failed
	}
	return next
}

// SetAside moves a damaged store out of the way, to dir.damaged, and leaves
// one in its place that can only be opened with Options.Rebuild. What an
// earlier rebuild has left unfinished goes; what was damaged last is kept.
func SetAside(dir string) error {
	reason, err := os.ReadFile(filepath.Join(dir, damagedFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if string(reason) == unfinished+"\n" {
		err = os.RemoveAll(dir)
	} else if err = os.RemoveAll(dir + ".damaged"); err == nil {
		err = os.Rename(dir, dir+".damaged")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if err := Condemn(dir, unfinished); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

const unfinished = "it is being rebuilt, which has not been finished"
