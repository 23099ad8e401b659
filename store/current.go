package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The databases of a store are numbered: Restore fills a new one beside the
// one in use. The file CURRENT names the one that counts and is replaced
// atomically; whatever else lies about is left over from a crash.
const (
	currentFile = "CURRENT"
	lockName    = "LOCK"
)

// errNoDatabase says that no database was ever finished in a directory.
var errNoDatabase = errors.New("store: no database")

// openLock makes the directory of a store and locks it until the file is
// closed. It writes to it, so that a file system that is full or read-only is
// noticed here and not taken for damage later.
func openLock(dir string) (_ *os.File, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := lockFile(f); err != nil {
		return nil, fmt.Errorf("store: %s: %w", dir, err)
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}

// findDatabase returns the number of the database that CURRENT names.
func (s *Store) findDatabase() (seq uint64, err error) {
	path := filepath.Join(s.opt.Dir, currentFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, s.checkNew()
	}
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	name := strings.TrimSuffix(string(b), "\n")
	seq, ok := parseDatabaseName(name)
	if !ok {
		return 0, fmt.Errorf("store: %s names %q: %w", path, name, ErrDamaged)
	}
	return seq, nil
}

// checkNew returns errNoDatabase if a directory without CURRENT is a new one.
// At most the making of its first database was cut short, which then holds
// nothing; if there is more, CURRENT was lost and must not be guessed.
func (s *Store) checkNew() error {
	seqs, err := listDatabases(s.opt.Dir)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		dir := databaseDir(s.opt.Dir, seq)
		unused, err := s.unused(dir)
		if err != nil {
			return err
		}
		if !unused {
			return fmt.Errorf("store: %s is there but %s is not: %w", dir, currentFile, ErrDamaged)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return errNoDatabase
}

// unused reports whether nothing was ever in a database.
func (s *Store) unused(dir string) (bool, error) {
	db, err := openDatabase(dir, &s.opt, true)
	if err != nil {
		return false, err
	}
	record, err := db.readLedger()
	db.retire(false)
	if errors.Is(err, io.EOF) {
		return true, db.err
	}
	if err = errors.Join(err, db.err); err != nil {
		return false, err
	}
	l, err := decodeLedger(record)
	if err != nil {
		return false, fmt.Errorf("store: %s: %w: %w", dir, err, ErrDamaged)
	}
	return l.head.raftIndex == 0 && l.head.seed == "", nil
}

func parseDatabaseName(name string) (seq uint64, ok bool) {
	digits, found := strings.CutPrefix(name, "db-")
	if !found {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && seq > 0
}

func listDatabases(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var seqs []uint64
	for _, e := range entries {
		if seq, ok := parseDatabaseName(e.Name()); ok {
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// removeOthers deletes the databases beside the one in use.
func removeOthers(dir string, keep uint64) error {
	seqs, err := listDatabases(dir)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if seq == keep {
			continue
		}
		if err := os.RemoveAll(databaseDir(dir, seq)); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// writeCurrent makes CURRENT name the database seq, whatever the power does
// meanwhile: it names the old one or the new one.
func writeCurrent(dir string, seq uint64) error {
	path := filepath.Join(dir, currentFile)
	if err := writeSynced(path+".tmp", fmt.Appendf(nil, "db-%d\n", seq)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(dir)
}

func writeSynced(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error { return syncFile(dir) }

func syncFile(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("store: sync %s: %w", path, err)
	}
	return nil
}
