package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

// smallDisk is large enough for a member, and small enough to be filled quickly.
const smallDisk = 1 << 30

func powerfsOptions() powerfs.Options {
	return powerfs.Options{Entries: powerfs.Journaled, Capacity: smallDisk}
}

// stepwise leaves less and less free until enough says so.
func stepwise(ctx context.Context, leave func(free int64) error, enough func() bool) error {
	for free := int64(smallDisk / 4); free > 0; free -= smallDisk / 64 {
		if err := leave(free); err != nil {
			return err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if enough() {
			return nil
		}
	}
	return errors.New("the disk filled up and nobody minded")
}

type powerVessel struct{ disk *powerfs.Disk }

func (v powerVessel) fill(ctx context.Context, atOnce bool, enough func() bool) error {
	if atOnce {
		v.disk.Occupy(0)
		return nil
	}
	return stepwise(ctx, func(free int64) error { v.disk.Occupy(free); return nil }, enough)
}

func (v powerVessel) empty() error {
	v.disk.Occupy(-1)
	return nil
}

// dirVessel is a file system of the kernel's.
type dirVessel struct{ dir string }

func (v dirVessel) fill(ctx context.Context, atOnce bool, enough func() bool) error {
	if !atOnce {
		return stepwise(ctx, v.leave, enough)
	}
	if err := v.leave(0); err != nil {
		return err
	}
	return v.lastBytes()
}

func (v dirVessel) filler() string { return filepath.Join(v.dir, "others") }

// leave has a file take all but so many bytes.
func (v dirVessel) leave(free int64) error {
	f, err := os.OpenFile(v.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	var st unix.Statfs_t
	var own unix.Stat_t
	if err := errors.Join(unix.Fstatfs(int(f.Fd()), &st), unix.Fstat(int(f.Fd()), &own)); err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	size := own.Blocks*512 + int64(st.Bavail)*st.Bsize - free
	if err := unix.Fallocate(int(f.Fd()), 0, 0, max(size, 1)); err != nil && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	return nil
}

// scraps is what an allocation of everything may leave. To take more would be a race for what the member gives back.
const scraps = 1 << 20

// lastBytes writes until nothing more can be written.
func (v dirVessel) lastBytes() error {
	f, err := os.OpenFile(v.filler(), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for range scraps / len(block) {
		_, err := f.Write(block)
		if err == nil {
			err = f.Sync()
		}
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}

func (v dirVessel) empty() error {
	if err := os.Remove(v.filler()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("empty the disk: %w", err)
	}
	return nil
}

// mountSmall mounts a small file system of the kernel's and returns what takes it away.
func mountSmall(kind, dir string) (func(), error) {
	switch kind {
	case "tmpfs":
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
			return nil, fmt.Errorf("mount: %w", err)
		}
	case "ext4":
		image := dir + ".img"
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			return nil, fmt.Errorf("mount: %w", err)
		}
		if err := os.Truncate(image, smallDisk); err != nil {
			return nil, fmt.Errorf("mount: %w", err)
		}
		for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // paths of our own
				return nil, fmt.Errorf("%s: %w: %s", args[0], err, out)
			}
		}
	default:
		return nil, fmt.Errorf("--where is %q, not powerfs, tmpfs or ext4", kind)
	}
	return func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }, nil
}
