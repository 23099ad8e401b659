package store

import (
	"os"
	"path/filepath"
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
