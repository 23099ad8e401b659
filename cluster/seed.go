package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/witan-kv/witan/store"
)

// A cluster that was restored, or went on with one survivor, begins with what
// is in the stores of its first members and with empty logs. The entries alone
// do not lead to its state, so nobody without that state may be given them
// from the first one on: a member that joins is to get a snapshot. Hence the
// first members throw away the beginning of their logs before they take part,
// and a replica refuses entries that do not continue what it has.

const sealPause = 10 * time.Millisecond

// sealLogs makes sure that none of this member's logs begins with the first entry.
func (n *Node) sealLogs(ctx context.Context) error {
	if n.id.Seed == "" {
		return nil
	}
	for _, g := range n.groups {
		if err := n.sealLog(ctx, g); err != nil {
			return fmt.Errorf("cluster: group %d: drop the beginning of the log: %w", g.id, err)
		}
	}
	return nil
}

func (n *Node) sealLog(ctx context.Context, g *group) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.timeout, ErrTimeout)
	defer cancel()
	log, err := n.nh.GetLogReader(g.shard)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(sealPause)
	defer ticker.Stop()
	// Dragonboat does not install a snapshot of a replica that has applied no
	// command: it takes its state for the empty one, which it is not.
	if _, raftIndex := g.st.Position(); raftIndex == 0 {
		if _, err := g.do(ctx, &store.Command{Op: store.OpTick}); err != nil {
			return err
		}
	}
	for {
		if first, _ := log.GetRange(); first > 1 {
			return nil
		}
		// Rejected means that there is a snapshot already; the log is cut off
		// some time after it was taken.
		_, err := n.nh.SyncRequestSnapshot(ctx, g.shard, dragonboat.SnapshotOption{OverrideCompactionOverhead: true})
		if err != nil && !isAny(err, dragonboat.ErrRejected, dragonboat.ErrSystemBusy, dragonboat.ErrShardNotReady, dragonboat.ErrAborted) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.stopping:
			return ErrStopped
		}
	}
}

// errOtherSeed says that a replica was sent entries it must not apply.
var errOtherSeed = errors.New("the log continues a state that this replica does not have, because another member sent it from its first entry on " +
	"although the cluster began with a backup or a survivor's data; " + rejoinAdvice)

// checkSeed returns an error if the entries of this group continue another
// state than the store has.
func (g *group) checkSeed() error {
	if g.st.Seed() != g.seed {
		return fmt.Errorf("cluster: group %d: %w", g.id, errOtherSeed)
	}
	return nil
}

// storeOptions returns how the store of a key group is opened.
func storeOptions(c *Config, id *identity, group int) store.Options {
	return store.Options{
		Dir:        groupDir(c.DataDir, group),
		Group:      group,
		Groups:     id.Groups,
		FirstIndex: id.FirstIndex,
		History:    c.EventHistory,
		CacheBytes: c.CacheBytes / int64(id.Groups),
		Logger:     c.Logger.With().Str("component", "store").Int("group", group).Logger(),
	}
}
