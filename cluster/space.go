package cluster

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A store or a raft log that runs out of disk faults (engine §0.3), which no
// handler can catch. So the member stops taking writes while there is still
// room for what it has accepted, and stops itself before there is none.
const (
	spaceEvery    = time.Second
	spaceBase     = 128 << 20 // raft log, snapshots under way
	spacePerGroup = 32 << 20  // memtables and their tables
	// critical is the part of the low-water mark below which the member stops.
	critical = 4
)

// lowSpace returns the free space below which writes are refused. On a small
// disk it is a tenth of it.
func lowSpace(groups int, size uint64) uint64 {
	return min(uint64(spaceBase+groups*spacePerGroup), size/10)
}

// runSpace watches the free space of the data directory's file system.
func (n *Node) runSpace(ctx context.Context) {
	ticker := time.NewTicker(spaceEvery)
	defer ticker.Stop()
	for {
		if err := n.checkSpace(); err != nil {
			n.fail(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// checkSpace refuses or takes writes again; an error says the member must stop.
func (n *Node) checkSpace() error {
	var st unix.Statfs_t
	if err := unix.Statfs(n.cfg.DataDir, &st); err != nil {
		return fmt.Errorf("cluster: free space of %s: %w", n.cfg.DataDir, err)
	}
	free, size := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	low := lowSpace(len(n.groups), size)
	if free < low/critical {
		return fmt.Errorf("cluster: %d bytes are free on the disk of %s: stopping before it is full; free at least %d and start again", free, n.cfg.DataDir, low)
	}
	if full := free < low; n.readOnly.Swap(full) != full {
		n.log.Warn().Bool("readOnly", full).Uint64("free", free).Uint64("needed", low).Msg("free disk space crossed the mark below which writes are refused")
	}
	return nil
}
