package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// A store or a raft log that runs out of disk faults (engine §0.3), which no
// handler can catch. So the member stops taking writes while there is still
// room for what it has accepted, keeps a file whose space it can give back when a disk
// fills at once, and stops itself before there is none.
const (
	spaceEvery    = 100 * time.Millisecond
	spaceBase     = 128 << 20 // raft log, snapshots under way
	spacePerGroup = 32 << 20  // memtables and their tables
	// In parts of the low-water mark: the reserve, and what must be free, if
	// need be without the reserve, or else the member stops.
	reserved = 2
	critical = 4
	// reserveFile is in the data directory.
	reserveFile = "reserve"
)

// lowSpace returns the free space below which writes are refused. On a small
// disk it is a tenth of it.
func lowSpace(groups int, size uint64) uint64 {
	return min(uint64(spaceBase+groups*spacePerGroup), size/10)
}

// space watches the free space of the data directory's file system. It is
// looked at on a clock and before each write to the log or a store, so that
// whoever fills the disk has to be faster than one write. Sparing a lone writer that look
// for 2 ms (2 of 300 µs) let a member die of a disk that was filled at once.
type space struct {
	dir    string
	groups int
	log    zerolog.Logger
	full   func(bool) // told whether writes are to be refused

	mu   sync.Mutex
	held bool // the reserve is there
	last bool // what full was told
}

func newSpace(dir string, groups int, log zerolog.Logger, full func(bool)) *space {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join(dir, reserveFile), &st)
	return &space{dir: dir, groups: groups, log: log, full: full, held: err == nil && st.Blocks > 0} // of a copy there are none
}

// run looks again and again, until it returns an error: the member must stop.
func (s *space) run(ctx context.Context) error {
	ticker := time.NewTicker(spaceEvery)
	defer ticker.Stop()
	for {
		if err := s.check(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// makeRoom is check for those who are about to write. What they cannot write
// they will see.
func (s *space) makeRoom() { _ = s.check() }

// check gives the reserve back or takes it again, and says whether writes are
// to be refused. An error says the member must stop.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, size, err := freeSpace(s.dir)
	if err != nil {
		return err
	}
	low := lowSpace(s.groups, size)
	if free < low/critical && s.held {
		if free, err = s.giveBackLocked(free); err != nil {
			return err
		}
	}
	if free < low/critical {
		return fmt.Errorf("cluster: %d bytes are free on the disk of %s: stopping before it is full; free at least %d and start again", free, s.dir, low)
	}
	if !s.held && free >= low+low/reserved {
		s.reserveLocked(low / reserved)
	}
	if full := free < low; s.last != full {
		s.last = full
		s.full(full)
		s.log.Warn().Bool("readOnly", full).Uint64("free", free).Uint64("needed", low).Msg("free disk space crossed the mark below which writes are refused")
	}
	return nil
}

func freeSpace(dir string) (free, size uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("cluster: free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// giveBackLocked removes the reserve and returns what is free then.
func (s *space) giveBackLocked(before uint64) (free uint64, err error) {
	if err := os.Remove(filepath.Join(s.dir, reserveFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("cluster: give back the reserve of space: %w", err)
	}
	s.held = false
	free, _, err = freeSpace(s.dir)
	s.log.Warn().Uint64("before", before).Uint64("free", free).Msg("the disk is full: the reserve of space was given back")
	return free, err
}

// reserveLocked takes space. Where that cannot be done there is no reserve.
func (s *space) reserveLocked(size uint64) {
	path := filepath.Join(s.dir, reserveFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.log.Debug().Err(err).Msg("no reserve of space")
		return
	}
	if err := errors.Join(allocate(f, size), f.Close()); err != nil {
		_ = os.Remove(path)
		s.log.Debug().Err(err).Msg("no reserve of space")
	}
	s.held = true // or not to be tried again
}
