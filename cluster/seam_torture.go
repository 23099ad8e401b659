//go:build torture

package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/lni/dragonboat/v4"
)

// What builds for the torture suite can be asked to do, and releases cannot (design §9).

// Groups returns how many key groups there are.
func (n *Node) Groups() int { return len(n.groups) }

// Lead asks the leader of a key group, whoever that is, to hand over to this
// member, and waits until it has or ctx ends.
func (n *Node) Lead(ctx context.Context, group int) error {
	g := n.groups[group]
	_, _, changed := g.lead.now()
	if g.leads(n.id.MemberID) {
		return nil
	}
	if err := n.nh.RequestLeaderTransfer(g.shard, n.id.MemberID); err != nil {
		return fmt.Errorf("cluster: group %d: take the lead: %w", group, err)
	}
	for !g.leads(n.id.MemberID) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster: group %d: take the lead: %w", group, ctx.Err())
		case <-changed:
			_, _, changed = g.lead.now()
		}
	}
	return nil
}

// Snapshot takes a snapshot of this member's replica of a key group, drops the
// raft log before it, and compacts the group's database. It returns the raft
// index of the snapshot, 0 if there is one at that place already.
func (n *Node) Snapshot(ctx context.Context, group int) (uint64, error) {
	g := n.groups[group]
	index, err := n.nh.SyncRequestSnapshot(ctx, g.shard, dragonboat.SnapshotOption{OverrideCompactionOverhead: true, CompactionOverhead: 1})
	if err != nil && !errors.Is(err, dragonboat.ErrRejected) {
		return 0, fmt.Errorf("cluster: group %d: snapshot: %w", group, err)
	}
	return index, g.st.Compact()
}
