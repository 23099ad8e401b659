package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/store"
)

// seenSlack is how far above everything known here a client's X-Etcd-Index may
// be: more can only be a mistake, and would burn the number space (design §3).
const seenSlack = 1_000_000

// Do makes a change and answers once it is applied on this member, with the
// event and the positions. seen is the highest index the client knows of, 0 if
// it does not say.
func (n *Node) Do(ctx context.Context, cmd store.Command, seen uint64) (Answer, error) {
	if err := n.checkSeen(seen); err != nil {
		return Answer{}, err
	}
	if n.readOnly.Load() {
		return Answer{}, ErrReadOnly
	}
	g := n.routeCommand(&cmd)
	cmd.Floor = max(n.frontier(), seen)
	p, err := g.do(ctx, &cmd)
	if err != nil {
		return Answer{}, err
	}
	_, term, _ := g.lead.now()
	a := Answer{Event: p.result.Event, Index: p.result.Index, RaftIndex: p.raftIndex, Term: term}
	if p.result.Err != nil {
		return a, p.result.Err
	}
	if a.Event == nil {
		return a, ErrTimeout // done at an earlier try, and what it did is no longer known
	}
	return a, nil
}

func (n *Node) checkSeen(seen uint64) error {
	if seen > n.frontier()+seenSlack {
		return ErrIndexTooHigh
	}
	return nil
}

// Get reads a node or a tree.
func (n *Node) Get(ctx context.Context, r Read) (Answer, error) {
	if err := n.checkSeen(r.Seen); err != nil {
		return Answer{}, err
	}
	if r.Key.IsRoot() && n.order != nil {
		return n.getRoot(ctx, r)
	}
	g := n.route(r.Key)
	// What a client saw may be of another group. A linearizable read is not
	// older than anything anybody saw.
	if r.Quorum || r.Seen > g.st.Frontier() {
		if err := g.readIndex(ctx); err != nil {
			return Answer{}, err
		}
	}
	ev, pos, serr := g.st.Get(r.Key, r.Recursive)
	_, term, _ := g.lead.now()
	a := Answer{Event: ev, Index: pos.Index, RaftIndex: pos.RaftIndex, Term: term}
	if serr != nil {
		return a, serr
	}
	return a, nil
}

// localPatience is how long a plain read of the root waits for the closed
// index. Plain reads work without a leader: then they show what is closed.
const localPatience = 500 * time.Millisecond

// getRoot reads the root, which spans all groups, as it was at one closed index.
func (n *Node) getRoot(ctx context.Context, r Read) (Answer, error) {
	if r.Quorum {
		if err := n.readAll(ctx); err != nil {
			return Answer{}, err
		}
	}
	target := max(n.frontier(), r.Seen)
	if r.Quorum {
		ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.requestTimeout(), ErrTimeout)
		defer cancel()
		if err := n.order.catchUp(ctx, target); err != nil {
			return Answer{}, err
		}
	} else {
		ctx, cancel := context.WithTimeoutCause(ctx, localPatience, ErrTimeout)
		defer cancel()
		_ = n.order.catchUp(ctx, target) // without a quorum, older is what there is
	}
	at := n.order.merge.Closed()
	root := &store.Node{Dir: true}
	for _, g := range n.groups {
		ev, serr := g.st.GetAt(r.Key, r.Recursive, at)
		if serr != nil {
			return Answer{Index: at}, serr
		}
		root.Nodes = append(root.Nodes, ev.Node.Nodes...)
	}
	slices.SortFunc(root.Nodes, func(a, b *store.Node) int {
		return strings.Compare(a.Key.String(), b.Key.String())
	})
	_, raftIndex := n.groups[0].st.Position()
	_, term, _ := n.groups[0].lead.now()
	return Answer{Event: &store.Event{Action: store.ActionGet, Node: root, Index: at}, Index: at, RaftIndex: raftIndex, Term: term}, nil
}

// readAll does a ReadIndex in every key group at once.
func (n *Node) readAll(ctx context.Context) error {
	var groups []*raftGroup
	for _, g := range n.groups {
		groups = append(groups, &g.raftGroup)
	}
	return readIndexes(ctx, groups)
}

// readIndexes does a ReadIndex in all the groups at once and returns the first error.
func readIndexes(ctx context.Context, groups []*raftGroup) error {
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { errs[i] = g.readIndex(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Healthy returns nil if a quorum of every group answered just now.
func (n *Node) Healthy(ctx context.Context) error {
	return readIndexes(ctx, n.raftGroups())
}

// Caught reports whether the member has caught up with its cluster since it started.
func (n *Node) Caught() bool { return n.caught.Load() }
