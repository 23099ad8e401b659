package cluster

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/lni/dragonboat/v4"
)

// standAlonePause is how often a lone voter without a leader is told to stand.
const standAlonePause = 10 * time.Millisecond

// standAlone makes this member the leader of a group at once if it is the
// group's only voter: there is nobody to wait for, and Dragonboat would let a
// whole election time-out pass. It returns when the group has a leader or
// turns out to have more voters.
func (n *Node) standAlone(ctx context.Context, g *raftGroup) {
	ticker := time.NewTicker(standAlonePause)
	defer ticker.Stop()
	for range ticker.C {
		if leader, _, _ := g.lead.now(); leader != 0 || ctx.Err() != nil {
			return
		}
		switch voters := n.voters(g.shard); {
		case len(voters) == 0: // nothing applied yet
		case len(voters) == 1 && voters[0] == n.id.MemberID:
			n.transport.Stand(g.shard)
		default:
			return
		}
	}
}

// voters lists the voters of a group as this replica knows them, nil when it has applied nothing yet.
func (n *Node) voters(shard uint64) []uint64 { return n.allVoters()[shard] }

// allVoters is voters of every group, by shard. A member that is going down knows none.
func (n *Node) allVoters() map[uint64][]uint64 {
	out := map[uint64][]uint64{}
	info := n.nh.GetNodeHostInfo(dragonboat.NodeHostInfoOption{SkipLogInfo: true})
	if info == nil { // raft is closed
		return out
	}
	for _, s := range info.ShardInfoList {
		if !s.Pending {
			out[s.ShardID] = slices.Sorted(maps.Keys(s.Replicas))
		}
	}
	return out
}
