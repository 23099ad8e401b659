package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Of what the torture suite takes hold of a member by, nothing is in a release
// (reliability SEC-D4), and all is in the build that is made for it.
func TestReleaseHasNoSeam(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds witan twice")
	}
	marks := [][]byte{[]byte("TORTURE_LISTEN"), []byte("main.newFakeClock"), []byte("cluster.(*Node).Snapshot"), []byte("store.(*Store).Compact")}
	for _, build := range []struct {
		tags string
		want bool
	}{{"", false}, {"torture", true}} {
		path := filepath.Join(t.TempDir(), "witan")
		if out, err := exec.Command("go", "build", "-tags", build.tags, "-o", path, ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range marks {
			if bytes.Contains(text, mark) != build.want {
				t.Errorf("built with tags %q, found %s: %v, want %v", build.tags, mark, !build.want, build.want)
			}
		}
	}
}
