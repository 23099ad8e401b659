package cluster

import (
	"context"

	"github.com/witan-kv/witan/watch"
)

// Watch registers a watcher on this member. The answer's Index is a safe point
// to resume from: everything above it that matches is delivered.
func (n *Node) Watch(_ context.Context, req watch.Request) (*watch.Watcher, Answer, error) {
	g := n.route(req.Key)
	hub, index := g.hub, uint64(0)
	if req.Key.IsRoot() && n.order != nil {
		hub = n.order.hub
		if req.From == 0 {
			// Now is what this member has seen, which may be above the closed
			// index: what was written before is not news.
			index = n.seen.Load()
			req.From = index + 1
		}
	}
	w, err := hub.Watch(req)
	if err != nil {
		return nil, Answer{Index: hub.Last()}, err
	}
	if n.order != nil {
		n.order.wake()
	}
	_, raftIndex := g.st.Position()
	_, term, _ := g.lead.now()
	return w, Answer{Index: max(index, w.Index()), RaftIndex: raftIndex, Term: term}, nil
}
