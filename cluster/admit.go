package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/cluster/peer"
)

// takeIn makes a process without data a member: the one that was added with
// its peer URLs, or, if it wishes so, one that is added for it now. A member
// that ran from another data directory before is not given away, unless it
// wishes to be replaced: then it gets a new id.
func (n *Node) takeIn(ctx context.Context, j peer.JoinRequest) (peer.JoinAnswer, error) {
	if err := n.metaGroup.readIndex(ctx); err != nil {
		return peer.JoinAnswer{}, err
	}
	r, found := n.meta.at(j.PeerURLs)
	if found && j.Replace && r.Instance != j.Instance && (r.started() || r.Instance != 0) {
		if err := n.RemoveMember(ctx, r.ID); err != nil && !errors.Is(err, ErrMemberRemoved) {
			return peer.JoinAnswer{}, err
		}
		n.log.Warn().Str("member", peer.Target(r.ID)).Strs("peers", j.PeerURLs).Msg("a member that lost its data is replaced")
		found = false
	}
	if !found {
		if !j.Add && !j.Replace {
			return peer.JoinAnswer{}, &peer.RefusedError{Reason: fmt.Sprintf(
				"no member has the peer URLs %s; add it first (etcdctl member add NAME %s)",
				strings.Join(j.PeerURLs, ","), strings.Join(j.PeerURLs, ","))}
		}
		m, err := n.AddMember(ctx, j.PeerURLs)
		if err != nil {
			return peer.JoinAnswer{}, err
		}
		r = record{Member: m}
	}
	if r.started() && r.Instance == 0 {
		return peer.JoinAnswer{}, &peer.RefusedError{Reason: errOtherInstance.Error()}
	}
	if _, err := n.proposeMeta(ctx, &metaCommand{Op: opClaim, ID: r.ID, Instance: j.Instance}); err != nil {
		if errors.Is(err, errOtherInstance) || errors.Is(err, ErrMemberRemoved) {
			return peer.JoinAnswer{}, &peer.RefusedError{Reason: err.Error()}
		}
		return peer.JoinAnswer{}, err
	}
	return peer.JoinAnswer{Member: r.ID, Cluster: n.facts(), Members: n.peerMembers()}, nil
}

// facts returns what a member has to know of this cluster to take part in it.
func (n *Node) facts() peer.Cluster {
	c := peer.Cluster{
		ID: n.id.ClusterID, Groups: n.id.Groups, FirstIndex: n.id.FirstIndex, Seed: n.id.Seed, Removed: n.id.Removed,
	}
	for _, m := range n.id.Members {
		c.Founders = append(c.Founders, peer.Founder{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs})
	}
	return c
}

// at returns the member with the given peer URLs.
func (m *meta) at(peerURLs []string) (record, bool) {
	for _, mb := range m.members() {
		if SameURLs(mb.PeerURLs, peerURLs) {
			return m.record(mb.ID)
		}
	}
	return record{}, false
}

// rejoinAdvice is what to do with a member that must not take part as it is.
const rejoinAdvice = "remove the member from the cluster (etcdctl member remove ID), empty its data directory, " +
	"add it again (etcdctl member add NAME URL) and start it with --initial-cluster-state=existing"

// What a member that must not take part as it is hears. Compare with errors.Is.
var (
	// ErrExpelled says that the member was removed from the cluster, for good.
	ErrExpelled = errors.New("cluster: the member has been permanently removed from the cluster")

	errOtherInstance = errors.New("cluster: the member has started before from another data directory, which was wiped or replaced since; " + rejoinAdvice)
	errRolledBack    = errors.New("cluster: the data directory is an older copy of the member's: it has started since from a newer one; " + rejoinAdvice)
)

// admit tells whether raft messages may be exchanged with a member that runs from o.
func (n *Node) admit(member uint64, o peer.Origin) error {
	if n.meta.removed(member) {
		return fmt.Errorf("%w: %x", peer.ErrExpelled, member)
	}
	r, _ := n.meta.record(member)
	switch r.fits(o.Instance, o.Boots) {
	case otherInstance:
		return fmt.Errorf("%w: %w", peer.ErrForeignData, errOtherInstance)
	case rolledBack:
		return fmt.Errorf("%w: %w", peer.ErrForeignData, errRolledBack)
	}
	return nil
}

// refused hears that another member does not want to hear of this one.
func (n *Node) refused(by uint64, err error) {
	switch {
	case errors.Is(err, peer.ErrExpelled):
		n.expel()
	case errors.Is(err, peer.ErrOtherCluster) && n.published.Load():
		// Somebody else has moved in where a member was.
	default:
		n.fail(fmt.Errorf("cluster: refused where member %x should be: %w", by, err))
	}
}

// expel notes that this member was removed from the cluster.
func (n *Node) expel() {
	n.expelling.Do(func() { close(n.expelled) })
}

// Removed is closed when the member has learned that it was removed from the
// cluster. The program is to close the node and exit: it is never asked again.
func (n *Node) Removed() <-chan struct{} { return n.expelled }

// behind hears that the leader of a group knows this member to have had more
// of the log than there is.
func (n *Node) behind(shard, last, expected uint64) {
	n.fail(fmt.Errorf("cluster: the log of group %s ends at %d, but its leader knows that it went to %d: the data directory was rolled back; %s",
		groupNames([]uint64{shard})[0], last, expected, rejoinAdvice))
}

// logEnd returns where the log of a group ends on this member.
func (n *Node) logEnd(shard uint64) (uint64, bool) {
	nh := n.raft.Load()
	if nh == nil {
		return 0, false // raft does not run yet
	}
	log, err := nh.GetLogReader(shard)
	if err != nil {
		return 0, false
	}
	_, last := log.GetRange()
	return last, true
}

// runPeers keeps the connections to other members to those the table knows,
// and, once this member is to leave, asks until somebody says that it has: the
// last step of a removal is one it does not hear of itself.
func (n *Node) runPeers(ctx context.Context) {
	for {
		_, _, changed := n.meta.change()
		n.transport.Recheck()
		self, known := n.meta.record(n.id.MemberID)
		if n.meta.removed(n.id.MemberID) || known && self.Leaving && n.probe(ctx) {
			n.expel()
			return
		}
		var again <-chan time.Time
		if self.Leaving {
			again = time.After(reconcileRetry)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// probe asks the others whether this member was removed.
func (n *Node) probe(ctx context.Context) (expelled bool) {
	return slices.ContainsFunc(n.others(), func(other uint64) bool {
		return errors.Is(n.transport.Probe(ctx, other), peer.ErrExpelled)
	})
}

// takeInWhenCaught is takeIn for the peer port, which is open before the
// member can answer for its cluster.
func (n *Node) takeInWhenCaught(ctx context.Context, j peer.JoinRequest) (peer.JoinAnswer, error) {
	if !n.caught.Load() {
		return peer.JoinAnswer{}, errors.New("cluster: this member has not caught up with its cluster yet; try another one or again")
	}
	return n.takeIn(ctx, j)
}
