package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// shelf holds the disks of the members there are at first, by their numbers.
type shelf struct {
	disks  []*powerfs.Disk
	mounts []string
	loss   powerfs.Loss // of all cuts
}

// newShelf makes a disk for each member and tells the cluster to be made where they are.
func (t *trial) newShelf(c *procs.Config, o powerfs.Options) (*shelf, error) {
	s := &shelf{}
	t.shelf = s
	for i := range c.Members {
		d, dir := powerfs.New(o), filepath.Join(c.Dir, fmt.Sprintf("disk%d", i))
		if err := makeDir(dir); err != nil {
			return nil, err
		}
		if err := d.Mount(dir); err != nil {
			return nil, err
		}
		t.cleanups = append(t.cleanups, func() { _ = d.Unmount() })
		if err := makeDataDir(dir); err != nil {
			return nil, err
		}
		s.disks, s.mounts, c.DataDirs = append(s.disks, d), append(s.mounts, dir), append(c.DataDirs, filepath.Join(dir, "data"))
	}
	return s, nil
}

// makeDataDir makes the data directory on a new disk last, as an operator's would: etcd does not sync the directory above it.
func makeDataDir(disk string) error {
	if err := makeDir(filepath.Join(disk, "data")); err != nil {
		return err
	}
	f, err := os.Open(disk)
	if err != nil {
		return fmt.Errorf("sync %s: %w", disk, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", disk, err)
	}
	return nil
}

// of is the member's disk, nil if it came later and has none.
func (s *shelf) of(m *procs.Member) *powerfs.Disk {
	if m.ID < len(s.disks) {
		return s.disks[m.ID]
	}
	return nil
}

// cut ends the power of a member's disk, whose process must have been killed, and gives it back.
func (s *shelf) cut(i int) (powerfs.Loss, error) {
	l, err := s.disks[i].Cut()
	if err != nil {
		return l, err
	}
	s.loss.Pages, s.loss.Entries = s.loss.Pages+l.Pages, s.loss.Entries+l.Entries
	return l, s.disks[i].Mount(s.mounts[i])
}
