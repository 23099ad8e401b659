package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lni/dragonboat/v4/raftpb"
)

// A snapshot that a process died with before the store had it is no reason to
// call the store damaged; one that was taken in is.
func TestHasImage(t *testing.T) {
	const header = 1024 + 16
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content string
		dummy   bool
		want    bool
	}{
		"image":  {string(make([]byte, header)) + "WITN\x01…", false, true},
		"shrunk": {string(make([]byte, header)), false, false},
		"own":    {string(make([]byte, header)) + "WITN\x01…", true, false},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hasImage(&raftpb.Snapshot{Filepath: path, Dummy: c.dummy}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if hasImage(&raftpb.Snapshot{Filepath: filepath.Join(dir, "none")}) {
		t.Error("a file that is not there has an image")
	}
}
