package store

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFailureKeptByBadger: the store stops when Badger fails in something it does not report, within
// a patrol, and before the ledger vouches for anything.
func TestFailureKeptByBadger(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Groups: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := s.kv.db.badger.Opts().Logger.(badgerLogger)
	l.Warningf("a table might be too small: %v", unix.EIO)
	if err := s.kv.db.failure(); err != nil {
		t.Errorf("a remark was taken for a failure: %v", err)
	}
	l.Errorf("Error while curlf sync: %v\n", error(unix.EIO))
	if err := s.write(newGeneration(), nil); !errors.Is(err, unix.EIO) {
		t.Errorf("the ledger was written: %v", err)
	}
	select {
	case <-s.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the store goes on")
	}
	if !errors.Is(s.Err(), unix.EIO) {
		t.Errorf("it stopped for %v", s.Err())
	}
}
