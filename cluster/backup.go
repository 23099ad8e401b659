package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/store"
)

// backupTries is how often a backup is begun when the tree it is to show is
// discarded meanwhile, which takes a history of a few events.
const backupTries = 5

// OpenBackup takes hold of the whole tree as it is now: of everything that was
// answered to anybody before the call. The caller writes and closes it, and
// does not close the node before.
func (n *Node) OpenBackup(ctx context.Context) (*store.Backup, error) {
	for try := 1; ; try++ {
		index, err := n.settledIndex(ctx)
		if err != nil {
			return nil, fmt.Errorf("cluster: backup: %w", err)
		}
		var stores []*store.Store
		for _, g := range n.groups {
			stores = append(stores, g.st)
		}
		b, err := store.NewBackup(stores, store.BackupInfo{
			ClusterID: n.id.ClusterID, Index: index, Groups: len(n.groups), Time: time.Now(), Version: n.cfg.Version,
		})
		var gone *store.Error
		if errors.As(err, &gone) && gone.Code == store.CodeEventIndexCleared && try < backupTries {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cluster: backup: %w", err)
		}
		return b, nil
	}
}

// settledIndex returns an index up to which everything is applied here, and
// which is not below anything that was answered before the call.
func (n *Node) settledIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.requestTimeout(), ErrTimeout)
	defer cancel()
	if err := n.readAll(ctx); err != nil {
		return 0, err
	}
	if n.order == nil {
		return n.groups[0].st.Frontier(), nil
	}
	if err := n.order.catchUp(ctx, n.frontier()); err != nil {
		return 0, err
	}
	return n.order.merge.Closed(), nil
}

// CheckSpace returns an error if the disk that dir is on has too little room
// left for a backup to be written there. On the disk of the data directory
// that is well before the member itself would refuse writes.
func (n *Node) CheckSpace(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("cluster: free space of %s: %w", dir, err)
	}
	free, size := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	if need := 2 * lowSpace(len(n.groups), size); free < need {
		return fmt.Errorf("cluster: %d bytes are free on the disk of %s, and %d are to stay free; remove what is not needed, or choose another disk", free, dir, need)
	}
	return nil
}
