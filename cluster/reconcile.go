package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/witan-kv/witan/cluster/peer"
)

// The table in the meta group says which members are to hold a replica of a
// group (table.go). The leader of each group brings the raft membership there,
// one configuration change after the other: a new member comes as a learner and
// becomes a voter when it has started and caught up; a leader that is to
// leave hands over first. Every step is decided anew from what the table and
// the group say at that moment, so that whoever leads next goes on where the
// last one was interrupted.

// stepKind is a step of a group towards the table.
type stepKind string

const (
	stepNone     stepKind = ""
	stepLearner  stepKind = "add learner"
	stepPromote  stepKind = "promote"
	stepHandOver stepKind = "hand over" // the leadership, to be able to leave
	stepRemove   stepKind = "remove"
	stepReached  stepKind = "reached" // tell the table that the change is done here
)

type step struct {
	kind   stepKind
	member uint64
}

// wish is what the table wants of one group.
type wish struct {
	shard    uint64
	replicas []uint64        // members to hold a replica, ascending
	ready    map[uint64]bool // those that may become voters
	change   *change         // the membership change in progress, nil if there is none
}

// wish returns what the table wants of a group.
func (m *meta) wish(shard uint64) wish {
	m.mu.RLock()
	defer m.mu.RUnlock()
	w := wish{shard: shard, ready: make(map[uint64]bool), change: m.table.Change}
	if shard == metaShard {
		for id, r := range m.table.Members {
			if !r.Leaving {
				w.replicas = append(w.replicas, id)
			}
		}
	} else {
		w.replicas = slices.Clone(m.table.Replicas[shard-firstKeyShard])
	}
	slices.Sort(w.replicas)
	for _, id := range w.replicas {
		r := m.table.Members[id]
		w.ready[id] = r.started()
	}
	return w
}

// next returns the step that brings a group led by self closer to the wish.
func (w *wish) next(have *dragonboat.Membership, self uint64) step {
	for _, id := range w.replicas {
		if !has(have.Nodes, id) && !has(have.NonVotings, id) && !has(have.Removed, id) {
			return step{stepLearner, id}
		}
	}
	if c := w.change; c != nil && slices.Contains(c.Left, w.shard) && c.reachedBy(have) {
		return step{stepReached, c.Member}
	}
	// Promotions go before removals: the one who is to go may be the only voter.
	for _, id := range w.replicas {
		if has(have.NonVotings, id) && w.ready[id] {
			return step{stepPromote, id}
		}
	}
	leaving, ok := w.leaving(have)
	switch {
	case !ok || has(have.Nodes, leaving) && len(have.Nodes) == 1:
		return step{}
	case leaving == self:
		return step{stepHandOver, leaving}
	}
	return step{stepRemove, leaving}
}

// reachedBy reports whether a group has taken the change up.
func (c *change) reachedBy(have *dragonboat.Membership) bool {
	present := has(have.Nodes, c.Member) || has(have.NonVotings, c.Member)
	if c.Remove {
		return !present && has(have.Removed, c.Member)
	}
	return present
}

// leaving returns a member whose replica is to go. One the group has never had
// goes too: only then is it sure that it never comes.
func (w *wish) leaving(have *dragonboat.Membership) (uint64, bool) {
	if !w.mayLeave() {
		return 0, false
	}
	present := slices.Sorted(maps.Keys(have.Nodes))
	present = slices.AppendSeq(present, maps.Keys(have.NonVotings))
	for _, id := range present {
		if !slices.Contains(w.replicas, id) {
			return id, true
		}
	}
	if c := w.change; c != nil && c.Remove && !has(have.Removed, c.Member) {
		return c.Member, true
	}
	return 0, false
}

// mayLeave reports whether replicas of the group may go. Those of the meta
// group go last: without it a member does not know what goes on.
func (w *wish) mayLeave() bool {
	c := w.change
	return w.shard != metaShard || c == nil || !c.Remove || slices.Equal(c.Left, []uint64{metaShard})
}

func has[V any](m map[uint64]V, id uint64) bool {
	_, ok := m[id]
	return ok
}

const (
	// reconcileRetry is the pause after a step that did not work.
	reconcileRetry = 200 * time.Millisecond
	// learnerRetry is the pause before a learner that did not answer is asked again.
	learnerRetry = time.Second
	// stepTimeout bounds a step. One that is lost in a change of leaders is
	// never answered.
	stepTimeout = 2 * time.Second
)

// runReconcile brings one group to the table whenever this member leads it and
// something may have changed.
func (n *Node) runReconcile(ctx context.Context, g *raftGroup) {
	for ctx.Err() == nil {
		_, _, tableChanged := n.meta.change()
		_, _, leadChanged := g.lead.now()
		var retry <-chan time.Time
		if g.leads(n.id.MemberID) {
			pause, err := n.reconcile(ctx, g)
			if err != nil {
				n.log.Debug().Err(err).Str("group", g.name()).Msg("membership step did not work")
				pause = reconcileRetry
			}
			if pause > 0 {
				retry = time.After(pause)
			}
		}
		select {
		case <-tableChanged:
		case <-leadChanged:
		case <-retry:
		case <-ctx.Done():
		}
	}
}

func (g *raftGroup) name() string { return groupNames([]uint64{g.shard})[0] }

// reconcile makes steps until none is left. It returns after which pause to
// look again though nothing has changed, 0 if there is nothing to wait for.
func (n *Node) reconcile(ctx context.Context, g *raftGroup) (pause time.Duration, err error) {
	for {
		s, pause, err := n.step(ctx, g)
		if err != nil || s.kind == stepNone {
			return pause, err
		}
		// Not only for people: tests stop members right after a step.
		n.log.Info().Str("group", g.name()).Str("step", string(s.kind)).Str("member", peer.Target(s.member)).Msg("membership step")
	}
}

// step makes the next step of a group, if there is one.
func (n *Node) step(ctx context.Context, g *raftGroup) (s step, pause time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := n.metaGroup.readIndex(ctx); err != nil { // not an old table
		return step{}, 0, err
	}
	w := n.meta.wish(g.shard)
	have, err := n.nh.SyncGetShardMembership(ctx, g.shard)
	if err != nil {
		return step{}, 0, fmt.Errorf("cluster: read the membership of group %s: %w", g.name(), err)
	}
	if n.holdBack(ctx, &w, have) {
		pause = learnerRetry
	}
	if s = w.next(have, n.id.MemberID); s.kind != stepNone {
		err = n.take(ctx, g, s, have, w.change)
	}
	return s, pause, err
}

// holdBack takes learners that do not answer just now off those that may become
// voters: a voter that is down makes every quorum harder to reach.
func (n *Node) holdBack(ctx context.Context, w *wish, have *dragonboat.Membership) (waits bool) {
	for id := range have.NonVotings {
		if m, _ := n.meta.member(id); w.ready[id] && n.reachable(ctx, []Member{m}) == 0 {
			w.ready[id] = false
			waits = true
		}
	}
	return waits
}

// take makes one step. It is refused if the group's membership is not the one
// the step was decided on.
func (n *Node) take(ctx context.Context, g *raftGroup, s step, have *dragonboat.Membership, c *change) error {
	target := peer.Target(s.member)
	switch s.kind {
	case stepLearner:
		return n.nh.SyncRequestAddNonVoting(ctx, g.shard, s.member, target, have.ConfigChangeID)
	case stepPromote:
		return n.nh.SyncRequestAddReplica(ctx, g.shard, s.member, target, have.ConfigChangeID)
	case stepHandOver:
		return n.handOverGroup(g, have)
	case stepRemove:
		return n.nh.SyncRequestDeleteReplica(ctx, g.shard, s.member, have.ConfigChangeID)
	case stepReached:
		_, err := n.proposeMeta(ctx, &metaCommand{Op: opReached, Change: c.ID, Shard: g.shard})
		return err
	}
	return fmt.Errorf("cluster: there is no step %q", s.kind)
}

var errNoHeir = errors.New("cluster: no other voter takes the leadership over")

// handOverGroup gives the leadership of a group to another voter.
func (n *Node) handOverGroup(g *raftGroup, have *dragonboat.Membership) error {
	for _, heir := range slices.Sorted(maps.Keys(have.Nodes)) {
		if heir == n.id.MemberID {
			continue
		}
		if _, alive := n.transport.Alive(heir); alive && n.transfer(g, heir, n.cfg.ElectionTimeout) {
			return nil
		}
	}
	return errNoHeir
}
