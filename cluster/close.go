package cluster

import (
	"context"
	"errors"
	"time"
)

const (
	handOverTimeout  = time.Second
	peerCloseTimeout = 500 * time.Millisecond
)

// Close stops the member in order: leaderships are handed over, whoever waits
// inside is told, raft stops, and then the stores are flushed and closed, by
// us and last, since Dragonboat may not get to it (engine §6.11). The API is
// to be closed before.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	if n.halted.Load() != nil {
		return n.abandon() // others of Dragonboat's goroutines may meet the error only now: they halt, too
	}
	n.leavePanics()
	n.handOver()
	n.endWaits()
	n.stop()
	for _, g := range n.groups {
		g.hub.Close()
	}
	if n.order != nil {
		n.order.hub.Close()
	}
	var errs []error
	if n.nh != nil {
		errs = append(errs, closeNodeHost(n.nh))
	}
	if n.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), peerCloseTimeout)
		_ = n.server.Close(ctx) // what is left are connections of others, which end with the process
		cancel()
		errs = append(errs, n.transport.Close())
	}
	n.wg.Wait()
	for _, g := range n.groups {
		errs = append(errs, g.st.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// abandon lets go of what others could wait for. Raft and the stores stay as they are: goroutines that have met an error of
// the disk hold locks in them, and closing would write.
func (n *Node) abandon() error {
	n.stop()
	for _, g := range n.groups {
		g.hub.Close()
	}
	if n.order != nil {
		n.order.hub.Close()
	}
	var errs []error
	if n.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), peerCloseTimeout)
		_ = n.server.Close(ctx)
		cancel()
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// handOver moves the leaderships this member has to others, as far as that
// goes quickly, so that nobody has to wait for an election.
func (n *Node) handOver() {
	if n.nh == nil || !n.caught.Load() {
		return
	}
	deadline := time.Now().Add(handOverTimeout)
	for _, g := range n.raftGroups() {
		for _, target := range n.others() {
			if !g.leads(n.id.MemberID) || time.Now().After(deadline) {
				break
			}
			if _, ok := n.transport.Alive(target); ok {
				n.transfer(g, target, min(time.Until(deadline), 300*time.Millisecond))
			}
		}
	}
}

// raftGroups lists the meta group and the key groups.
func (n *Node) raftGroups() []*raftGroup {
	all := []*raftGroup{&n.metaGroup}
	for _, g := range n.groups {
		all = append(all, &g.raftGroup)
	}
	return all
}

func (g *raftGroup) leads(member uint64) bool {
	leader, _, _ := g.lead.now()
	return leader == member
}

// others lists the ids of the other members.
func (n *Node) others() []uint64 {
	var ids []uint64
	for _, m := range n.meta.members() {
		if m.ID != n.id.MemberID {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// transfer asks for a group's leadership to go to target and waits until it
// has left this member. The request may be ignored, by a target that is behind.
func (n *Node) transfer(g *raftGroup, target uint64, wait time.Duration) bool {
	_, _, changed := g.lead.now()
	if err := n.nh.RequestLeaderTransfer(g.shard, target); err != nil {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for g.leads(n.id.MemberID) {
		select {
		case <-changed:
			_, _, changed = g.lead.now()
		case <-timer.C:
			return false
		}
	}
	return true
}
