package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// A power cut between the creation of a log file and its first byte leaves an
// empty file behind.
func TestOpenWithUnbornLogFiles(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, Logger: zerolog.Nop()}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(1, &Command{Op: OpSet, Key: ParseKey("/a"), Value: "x"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(o.Dir, "db-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("databases %v, %v", dirs, err)
	}
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dirs[0], name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, serr := s.Get(ParseKey("/a"), false); serr != nil {
		t.Error(serr)
	}
}

// After a power cut a value log that was cut to its header has its first size
// again, and nobody removes it. One with values stays.
func TestEmptyValueLogsAreRemoved(t *testing.T) {
	o := Options{Dir: t.TempDir(), Groups: 1, Logger: zerolog.Nop()}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	db := databaseDir(o.Dir, s.seq)
	big := strings.Repeat("x", bigValue)
	s.Apply(1, &Command{Op: OpSet, Key: ParseKey("/a"), Value: big})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newest := func() string {
		t.Helper()
		logs, err := filepath.Glob(filepath.Join(db, "*.vlog"))
		if err != nil || len(logs) == 0 {
			t.Fatal(logs, err)
		}
		return logs[len(logs)-1]
	}
	full := newest()
	reopen := func() {
		t.Helper()
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	reopen() // makes one without values
	empty := newest()
	if err := os.Truncate(empty, 32<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(db, "000999.vlog"), make([]byte, logHeader), 0o600); err != nil {
		t.Fatal(err)
	}
	reopen()
	if _, err := os.Stat(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a value log without values is kept: %v", err)
	}
	if _, err := os.Stat(full); err != nil {
		t.Error(err)
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, _, serr := s.Get(ParseKey("/a"), false); serr != nil || e.Node.Value != big {
		t.Errorf("the value is gone: %v", serr)
	}
}
