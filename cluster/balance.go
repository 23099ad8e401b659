package cluster

import (
	"context"
	"time"
)

const (
	// In election time-outs: how often leaderships are looked at, and how long
	// a member must have been heard of without a break before it is given one.
	// A member that just started is behind, and a transfer to it would only
	// hold up writes.
	balanceEvery   = 2
	balanceSettled = 10
)

// runBalance spreads the groups' leaders evenly over the members: as soon as
// this member leads at least two groups more than another one, it gives one away.
func (n *Node) runBalance(ctx context.Context) {
	ticker := time.NewTicker(balanceEvery * n.cfg.ElectionTimeout)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.balance()
		}
	}
}

func (n *Node) balance() {
	leads := make(map[uint64]int)
	var mine *group
	for _, g := range n.groups {
		leader, _, _ := g.lead.now()
		leads[leader]++
		if leader == n.id.MemberID {
			mine = g
		}
	}
	if mine == nil {
		return
	}
	for _, target := range n.meta.replicas(mine.id) {
		since, alive := n.transport.Alive(target)
		if target == n.id.MemberID || !alive || time.Since(since) < balanceSettled*n.cfg.ElectionTimeout || leads[n.id.MemberID] < leads[target]+2 {
			continue
		}
		moved := n.transfer(&mine.raftGroup, target, n.cfg.ElectionTimeout)
		mine.log.Info().Uint64("to", target).Bool("moved", moved).Msg("leadership given away to spread the load")
		return
	}
}
