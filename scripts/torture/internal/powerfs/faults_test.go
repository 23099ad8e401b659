package powerfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func wants(t *testing.T, what string, got, want error) {
	t.Helper()
	if pe, ok := got.(*os.PathError); ok { //nolint:errorlint // the bare number is wanted
		got = pe.Err
	}
	if got != want { //nolint:errorlint // the bare number is wanted
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestFailedSyncDropsPages: after a failed fsync the next one succeeds, and what the first should have written is lost with the power.
func TestFailedSyncDropsPages(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	path := filepath.Join(dir, "f")
	f := create(t, path)
	_, err := f.Write(bytes.Repeat([]byte("a"), 4096))
	must(t, err)
	d.Set(powerfs.Faults{Syncs: 1})
	wants(t, "fsync", f.Sync(), syscall.EIO)
	_, err = f.Write(bytes.Repeat([]byte("b"), 4096))
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	if got := content(t, path); got[0] != 'a' || got[4096] != 'b' {
		t.Error("what was written is not seen")
	}
	loss := cut(t, d, dir)
	if got := content(t, path); got[0] != 0 || got[4096] != 'b' {
		t.Errorf("after the power cut: %q %q", got[0], got[4096])
	}
	if loss.Pages != 1 || d.Bites().Syncs != 1 {
		t.Errorf("lost %+v, felt %+v", loss, d.Bites())
	}
}

func TestFailuresOfSomeFiles(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	must(t, os.Mkdir(filepath.Join(dir, "raft"), 0o700))
	hit, spared := create(t, filepath.Join(dir, "raft", "log")), create(t, filepath.Join(dir, "other"))
	d.Set(powerfs.Faults{Writes: 1, Reads: powerfs.Always, Syncs: 1, In: "raft/"})
	for _, f := range []*os.File{spared, hit} {
		_, err := f.WriteString("x")
		if f == hit {
			wants(t, "write", err, syscall.EIO)
			continue
		}
		must(t, err)
		must(t, f.Sync())
	}
	_, err := hit.WriteString("x")
	must(t, err)
	wants(t, "fsync", hit.Sync(), syscall.EIO)
	must(t, hit.Sync())
	must(t, hit.Close())
	must(t, spared.Close())
	cut(t, d, dir) // and with the power the kernel's pages
	_, err = os.ReadFile(filepath.Join(dir, "raft", "log"))
	wants(t, "read", err, syscall.EIO)
	if content(t, filepath.Join(dir, "other")) != "x" {
		t.Error("another file was hit")
	}
	if b := d.Bites(); b.Writes != 1 || b.Syncs != 1 || b.Reads == 0 {
		t.Errorf("felt %+v", b)
	}
}

func statfs(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Bavail) * st.Bsize
}

// TestSpace counts what is written, allocated, truncated and removed, and refuses what does not fit.
func TestSpace(t *testing.T) {
	const size = 1 << 20
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept, Capacity: size})
	whole := statfs(t, dir)
	path := filepath.Join(dir, "f")
	f := create(t, path)
	_, err := f.WriteAt(make([]byte, 8192), 1<<30) // in a sparse file
	must(t, err)
	if used := whole - statfs(t, dir); used != 3*4096 {
		t.Errorf("%d bytes are used by two pages and a file", used)
	}
	must(t, f.Truncate(0))
	if used := whole - statfs(t, dir); used != 4096 {
		t.Errorf("%d bytes are used by an empty file", used)
	}
	// What was allocated is there when others take the rest.
	must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 16*4096))
	must(t, f.Truncate(16*4096))
	d.Occupy(0)
	if free := statfs(t, dir); free != 0 {
		t.Errorf("%d bytes are free on a full disk", free)
	}
	_, err = f.WriteAt(make([]byte, 16*4096), 0)
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 16*4096)
	wants(t, "write", err, syscall.ENOSPC)
	_, err = os.Create(filepath.Join(dir, "g"))
	wants(t, "create", err, syscall.ENOSPC)
	wants(t, "fallocate", unix.Fallocate(int(f.Fd()), 0, 0, size), syscall.ENOSPC)
	d.Occupy(5 * 4096)
	if d.Free() != 5*4096 {
		t.Errorf("%d bytes are free", d.Free())
	}
	d.Occupy(-1)
	must(t, f.Close())
	must(t, os.Remove(path))
	if free := statfs(t, dir); free != whole || d.Bites().Full != 3 {
		t.Errorf("%d of %d bytes are free at the end; felt %+v", free, whole, d.Bites())
	}
}

// TestMappedWriteToFullDisk: what is written through a mapping fails at msync.
func TestMappedWriteToFullDisk(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept, Capacity: 1 << 20})
	f := create(t, filepath.Join(dir, "f"))
	must(t, f.Truncate(4096))
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(m)) }()
	d.Occupy(0)
	m[0] = 1
	wants(t, "msync", unix.Msync(m, unix.MS_SYNC), syscall.ENOSPC)
}

func TestSlowAndReadOnly(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept})
	f := create(t, filepath.Join(dir, "f"))
	_, err := f.WriteString("x")
	must(t, err)
	const delay = 30 * time.Millisecond
	for _, faults := range []powerfs.Faults{{SyncDelay: delay}, {Rate: int(time.Second / delay)}} {
		d.Set(faults)
		begin := time.Now()
		must(t, f.Sync())
		if took := time.Since(begin); took < delay {
			t.Errorf("%+v: an fsync took %v", faults, took)
		}
	}
	if d.Bites().Slowed != 2 {
		t.Errorf("felt %+v", d.Bites())
	}
	d.Set(powerfs.Faults{ReadOnly: true})
	_, err = f.WriteString("x")
	wants(t, "write", err, syscall.EROFS)
	d.Set(powerfs.Faults{})
}

// TestSilent: a failed fsync nobody hears of loses pages all the same.
func TestSilent(t *testing.T) {
	d, dir := mounted(t, powerfs.Options{Entries: powerfs.Kept, Silent: true})
	f := create(t, filepath.Join(dir, "f"))
	_, err := f.WriteString("x")
	must(t, err)
	d.Set(powerfs.Faults{Syncs: 1})
	must(t, f.Sync())
	must(t, f.Close())
	if loss := cut(t, d, dir); loss.Pages != 1 {
		t.Errorf("lost %+v", loss)
	}
}
