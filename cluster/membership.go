package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/cluster/peer"
)

// Errors of membership changes beside ErrTimeout and ErrStopped. Compare with errors.Is.
var (
	// ErrPeerURLExists says another member has one of the peer URLs.
	ErrPeerURLExists = errors.New("membership: peerURL exists")
	// ErrIDExists says the id is or was a member's.
	ErrIDExists = errors.New("membership: ID exists")
	// ErrNoMember says there has never been a member with that id.
	ErrNoMember = errors.New("membership: ID not found")
	// ErrMemberRemoved says the member was removed. Its id never comes back.
	ErrMemberRemoved = errors.New("membership: ID removed")
	// ErrChangePending says another membership change is not through in all groups.
	ErrChangePending = errors.New("membership: another change is in progress")
)

// UnsafeChangeError refuses a membership change that would cost the cluster its quorum.
type UnsafeChangeError struct{ Reason string }

func (e *UnsafeChangeError) Error() string {
	return "etcdserver: re-configuration failed: " + e.Reason
}

// UnfinishedError says that a membership change is decided and goes on by
// itself, but some groups had not taken it up when the request's time was over.
type UnfinishedError struct {
	Member uint64
	Remove bool
	Groups []string // "meta" and the numbers of key groups
}

func (e *UnfinishedError) Error() string {
	what := "added"
	if e.Remove {
		what = "removed"
	}
	return fmt.Sprintf("member %x is being %s, but group %s has not taken it up yet; it goes on by itself, see GET /v2/members",
		e.Member, what, strings.Join(e.Groups, ", "))
}

// AddMember adds a member that will serve peers at the given URLs, and returns
// when every group is ready for it. It takes part once it has been started
// and has caught up; until then it does not count for a quorum.
func (n *Node) AddMember(ctx context.Context, peerURLs []string) (Member, error) {
	urls := slices.Sorted(slices.Values(peerURLs))
	m := Member{ID: addedMemberID(urls, time.Now()), PeerURLs: urls}
	o, err := n.proposeMeta(ctx, &metaCommand{
		Op: opAdd, ID: m.ID, PeerURLs: urls, Nonce: rand.Uint64(), Strict: n.cfg.StrictReconfig,
	})
	if err != nil {
		return Member{}, err
	}
	return m, n.awaitChange(ctx, o.change, m.ID, false)
}

// RemoveMember removes a member for good, and returns when no group has a
// replica on it any more. The member stops by itself.
func (n *Node) RemoveMember(ctx context.Context, id uint64) error {
	if n.cfg.StrictReconfig {
		if err := n.checkReachable(ctx, id); err != nil {
			return err
		}
	}
	o, err := n.proposeMeta(ctx, &metaCommand{Op: opRemove, ID: id, Nonce: rand.Uint64(), Strict: n.cfg.StrictReconfig})
	if err != nil {
		return err
	}
	return n.awaitChange(ctx, o.change, id, true)
}

// UpdateMember changes the peer URLs of a member, which may then be restarted
// there. Raft knows members by their ids and is not touched.
func (n *Node) UpdateMember(ctx context.Context, id uint64, peerURLs []string) error {
	_, err := n.proposeMeta(ctx, &metaCommand{Op: opUpdate, ID: id, PeerURLs: slices.Sorted(slices.Values(peerURLs))})
	return err
}

// checkReachable refuses to remove a member when too few of the others answer
// to be a quorum of what is left. What the table says alone would allow
// to remove the second of three members while the third is down.
func (n *Node) checkReachable(ctx context.Context, leaving uint64) error {
	if _, ok := n.meta.member(leaving); !ok {
		return nil // the proposal tells why not
	}
	var rest []Member
	for _, m := range n.meta.members() {
		if m.ID != leaving {
			rest = append(rest, m)
		}
	}
	reachable := n.reachable(ctx, rest)
	if quorum := len(rest)/2 + 1; reachable < quorum && len(rest) > 0 {
		return &UnsafeChangeError{fmt.Sprintf(
			"%d members would be left of which %d can be reached, fewer than the quorum of %d; start the others first, or remove those that are down",
			len(rest), reachable, quorum)}
	}
	return nil
}

// reachable counts the members that answer on their peer port.
func (n *Node) reachable(ctx context.Context, members []Member) int {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answered := make([]bool, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { answered[i] = m.ID == n.id.MemberID || answers(ctx, m) })
	}
	wg.Wait()
	count := 0
	for _, ok := range answered {
		if ok {
			count++
		}
	}
	return count
}

// answers reports whether a member answers at one of its peer URLs.
func answers(ctx context.Context, m Member) bool {
	for _, u := range m.PeerURLs {
		members, err := peer.Ask(ctx, u)
		if err == nil && slices.ContainsFunc(members, func(o peer.Member) bool { return o.ID == m.ID }) {
			return true
		}
	}
	return false
}

// awaitChange returns when every group has taken up a change, or says which
// have not when the request's time is over.
func (n *Node) awaitChange(ctx context.Context, id, member uint64, remove bool) error {
	timer := time.NewTimer(n.metaGroup.timeout)
	defer timer.Stop()
	for {
		c, pending, changed := n.meta.change()
		if !pending || c.ID != id {
			return nil
		}
		if remove && member == n.id.MemberID && slices.Equal(c.Left, []uint64{metaShard}) {
			return nil // this member will not hear of the last step, its own
		}
		select {
		case <-changed:
		case <-timer.C:
			return &UnfinishedError{Member: member, Remove: remove, Groups: groupNames(c.Left)}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.stopping:
			return ErrStopped
		}
	}
}

// verdictErrors are the errors for the verdicts a client can meet.
var verdictErrors = map[verdict]error{
	noMember:      ErrNoMember,
	memberRemoved: ErrMemberRemoved,
	peerURLTaken:  ErrPeerURLExists,
	idTaken:       ErrIDExists,
	otherInstance: errOtherInstance,
	rolledBack:    errRolledBack,
}

func (o *outcome) err() error {
	switch o.verdict {
	case done:
		return nil
	case changePending:
		return fmt.Errorf("%w: %s; try again when it is done", ErrChangePending, o.reason)
	case unsafeChange:
		return &UnsafeChangeError{o.reason}
	}
	if err, ok := verdictErrors[o.verdict]; ok {
		return err
	}
	return fmt.Errorf("cluster: the meta group answered %d, which this version does not know", o.verdict)
}
