package cluster

import (
	"context"

	"github.com/witan-kv/witan/watch"
)

// Watch registers a watcher on this member. The answer's Index is a safe point
// to resume from: everything above it that matches is delivered.
func (n *Node) Watch(_ context.Context, req watch.Request) (*watch.Watcher, Answer, error) {
	g := n.route(req.Key)
	hub, now := g.hub, g.st.Frontier()
	if req.Key.IsRoot() && n.order != nil {
		hub, now = n.order.hub, n.frontier()
	}
	fromNow := req.From == 0
	if fromNow {
		// Now is what a read here shows, which the hub may be about to hear
		// of: what was written before is not news.
		req.From = now + 1
	}
	w, err := hub.Watch(req)
	if err != nil {
		return nil, Answer{Index: hub.Last()}, err
	}
	if n.order != nil {
		n.order.wake()
	}
	a := Answer{Index: now}
	if !fromNow {
		a.Index = max(now, w.Index())
	}
	_, a.RaftIndex = g.st.Position()
	_, a.Term, _ = g.lead.now()
	return w, a, nil
}
