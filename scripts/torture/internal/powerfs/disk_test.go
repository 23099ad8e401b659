package powerfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

// mounted returns a disk and where it is mounted, or skips where FUSE is not to be had.
func mounted(t *testing.T, o powerfs.Options) (*powerfs.Disk, string) {
	t.Helper()
	if err := powerfs.Possible(); err != nil {
		t.Skip(err)
	}
	d, dir := powerfs.New(o), t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, dir
}

func cut(t *testing.T, d *powerfs.Disk, dir string) powerfs.Loss {
	t.Helper()
	loss, err := d.Cut()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	return loss
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// syncDir makes the names in a directory durable.
func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func TestWritesAreLostUnlessSynced(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Strict})
	path := filepath.Join(dir, "f")
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteString("synced")
	must(t, err)
	must(t, f.Sync())
	syncDir(t, dir)
	_, err = f.WriteAt([]byte("SYN"), 0)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 10_000), 6)
	must(t, err)
	must(t, f.Close())
	if got := content(t, path); len(got) != 10_006 || got[:6] != "SYNced" {
		t.Fatalf("before the cut the file has %d bytes: %.10q", len(got), got)
	}
	if loss := cut(t, d, dir); loss.Pages == 0 {
		t.Error("the cut took nothing")
	}
	if got := content(t, path); got != "synced" {
		t.Errorf("after the cut the file is %.20q", got)
	}
}

// mapEnv names the file that a child process of this test is to write through
// a mapping. It must be another process: a page fault stops its thread without
// the Go scheduler knowing, and here the same process would have to answer it.
const mapEnv = "POWERFS_TEST_MAP"

func TestMain(m *testing.M) {
	if path := os.Getenv(mapEnv); path != "" {
		if err := writeMapped(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeMapped writes and syncs a page, and then changes it and another one.
func writeMapped(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(m, "first")
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		return err
	}
	copy(m, "other")
	copy(m[4096:], "second")
	return errors.Join(unix.Munmap(m), f.Close())
}

func TestMappedWritesAreLostUnlessSynced(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	path := filepath.Join(dir, "f")
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(2*4096))
	must(t, f.Sync())
	must(t, f.Close())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), mapEnv+"="+path)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := content(t, path); got[:5] != "other" {
		t.Fatalf("before the cut: %.10q", got)
	}
	cut(t, d, dir)
	got := content(t, path)
	if len(got) != 2*4096 || got[:5] != "first" || got[4096] != 0 {
		t.Errorf("after the cut: %d bytes, %.10q, %.10q", len(got), got, got[4096:])
	}
}

func TestTruncationIsUndoneUnlessSynced(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	path := filepath.Join(dir, "f")
	whole := bytes.Repeat([]byte("0123456789"), 1000)
	f, err := os.Create(path)
	must(t, err)
	_, err = f.Write(whole)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Truncate(5000))
	must(t, f.Truncate(6000))
	if got := content(t, path); len(got) != 6000 || got[5000:] != string(make([]byte, 1000)) {
		t.Errorf("a file that shrank and grew has %d bytes and does not end in zeros", len(got))
	}
	must(t, f.Close())
	cut(t, d, dir)
	if got := content(t, path); got != string(whole) {
		t.Errorf("after the cut the file has %d bytes", len(got))
	}
}

// TestOrderedSizes shows the two ways in which a file that was made and extended, but never synced, can come back when something
// else was synced: with its size and all zero, or empty.
func TestOrderedSizes(t *testing.T) {
	for mode, want := range map[powerfs.Entries]int{powerfs.Ordered: 10_000, powerfs.Journaled: 0} {
		d, dir := mounted(t, powerfs.Options{Entries: mode})
		f, err := os.Create(filepath.Join(dir, "f"))
		must(t, err)
		must(t, f.Truncate(10_000))
		_, err = f.WriteString("not synced")
		must(t, err)
		syncDir(t, dir)
		must(t, f.Close())
		cut(t, d, dir)
		if got := content(t, filepath.Join(dir, "f")); got != string(make([]byte, want)) {
			t.Errorf("%s: %d bytes, %.10q", mode, len(got), got)
		}
	}
}

func TestOrderedTruncation(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Ordered})
	path := filepath.Join(dir, "f")
	f, err := os.Create(path)
	must(t, err)
	_, err = f.Write(bytes.Repeat([]byte("x"), 10_000))
	must(t, err)
	must(t, f.Sync())
	must(t, f.Truncate(5000))
	syncDir(t, dir)
	must(t, f.Close())
	cut(t, d, dir)
	if got := content(t, path); got != string(bytes.Repeat([]byte("x"), 5000)) {
		t.Errorf("after the cut: %d bytes", len(got))
	}
	must(t, os.Truncate(path, 6000))
	if got := content(t, path); got[5000:] != string(make([]byte, 1000)) {
		t.Errorf("what was cut off came back: %.10q", got[5000:])
	}
}

func TestNames(t *testing.T) {
	for name, c := range map[powerfs.Entries]struct{ afterFileSync, afterDirSync bool }{
		powerfs.Kept:      {true, true},
		powerfs.Ordered:   {true, true},
		powerfs.Journaled: {true, true},
		powerfs.Strict:    {false, true},
	} {
		for _, dirToo := range []bool{false, true} {
			d, dir := mounted(t, powerfs.Options{Entries: name})
			f, err := os.Create(filepath.Join(dir, "new"))
			must(t, err)
			must(t, f.Sync())
			must(t, f.Close())
			want := c.afterFileSync
			if dirToo {
				syncDir(t, dir)
				want = c.afterDirSync
			}
			cut(t, d, dir)
			if _, err := os.Stat(filepath.Join(dir, "new")); (err == nil) != want {
				t.Errorf("%s, directory synced %t: %v", name, dirToo, err)
			}
		}
	}
}

func TestRenameIsUndoneUnlessSynced(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Strict})
	for _, name := range []string{"old", "new"} {
		f, err := os.Create(filepath.Join(dir, name))
		must(t, err)
		_, err = f.WriteString(name)
		must(t, err)
		must(t, f.Sync())
		must(t, f.Close())
	}
	syncDir(t, dir)
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "old")))
	if got := content(t, filepath.Join(dir, "old")); got != "new" {
		t.Fatalf("after the rename: %q", got)
	}
	cut(t, d, dir)
	if a, b := content(t, filepath.Join(dir, "old")), content(t, filepath.Join(dir, "new")); a != "old" || b != "new" {
		t.Errorf("after the cut: %q, %q", a, b)
	}
}

func TestLyingDiskKeepsNothing(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept, Lying: true})
	path := filepath.Join(dir, "f")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_DSYNC, 0o600)
	must(t, err)
	_, err = f.WriteString("gone")
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	cut(t, d, dir)
	if got := content(t, path); got != "" {
		t.Errorf("a lying disk kept %q", got)
	}
}

// TestDsync shows that writes to files opened with O_DSYNC need no fsync, also those made by Create.
func TestDsync(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	for _, again := range []bool{false, true} {
		path := filepath.Join(dir, "f")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_DSYNC, 0o600)
		must(t, err)
		_, err = f.WriteString("kept")
		must(t, err)
		must(t, f.Close())
		cut(t, d, dir)
		if got := content(t, path); got != "kept" {
			t.Errorf("opened again %t: got %q", again, got)
		}
	}
}

// TestSave: what is kept of a disk is what its users saw last, without the holes filled.
func TestSave(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Journaled})
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	path, text := filepath.Join(dir, "sub", "file"), []byte("synced or not")
	must(t, os.WriteFile(path, text, 0o600))
	must(t, os.Truncate(path, 1<<20+5))
	must(t, d.Unmount())
	kept := t.TempDir()
	must(t, d.Save(kept))
	got, err := os.ReadFile(filepath.Join(kept, "sub", "file"))
	must(t, err)
	if len(got) != 1<<20+5 || !bytes.HasPrefix(got, text) || len(bytes.Trim(got[len(text):], "\x00")) > 0 {
		t.Errorf("%d bytes, of which the first are %q", len(got), got[:min(20, len(got))])
	}
}
