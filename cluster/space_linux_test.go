package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			t.Skip("mounting is not allowed here")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// others leaves so much of the disk free.
func others(t *testing.T, dir string, free uint64) {
	t.Helper()
	path := filepath.Join(dir, "others")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	now, _, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := allocate(f, now-free); err != nil {
		t.Fatal(err)
	}
}

func TestSpace(t *testing.T) {
	const size = 40 << 20 // so the mark is at 4 MiB, the reserve has 2, and 1 is critical
	dir := smallDisk(t, "size=40m")
	var full bool
	s := newSpace(dir, 1, zerolog.Nop(), func(now bool) { full = now })
	look := func(what string, wantFull, wantHeld bool) {
		t.Helper()
		if err := s.check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if full != wantFull || s.held != wantHeld {
			t.Errorf("%s: full %v, reserve held %v; want %v, %v", what, full, s.held, wantFull, wantHeld)
		}
	}
	look("empty", false, true)
	if free, _, _ := freeSpace(dir); free > size-2<<20 {
		t.Errorf("%d bytes are free beside the reserve", free)
	}
	others(t, dir, 3<<20)
	look("nearly full", true, true)
	others(t, dir, 0)
	look("full", true, false)
	if free, _, _ := freeSpace(dir); free != 2<<20 {
		t.Errorf("%d bytes are free after the reserve was given back", free)
	}
	s = newSpace(dir, 1, zerolog.Nop(), func(now bool) { full = now })
	look("full after a restart", true, false)
	others(t, dir, 5<<20)
	look("enough, but not for a reserve", false, false)
	others(t, dir, 10<<20)
	look("enough", false, true)
	s = newSpace(dir, 1, zerolog.Nop(), func(now bool) { full = now })
	look("enough after a restart", false, true)
	others(t, dir, 0)
	look("full again", true, false)
	others(t, dir, 0)
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "stopping before it is full") {
		t.Errorf("without space and reserve: %v", err)
	}
}
