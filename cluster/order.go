package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// order puts the events of several groups into the one order of their indexes
// and makes sure that it goes on: when somebody waits and an idle group holds
// the closed index back, it proposes a tick there (design §3).
type order struct {
	n     *Node
	hub   *watch.Hub // watchers of the root
	merge *watch.Merge

	work     chan struct{} // there may be something to tick
	waiting  atomic.Int64  // readers that wait for the closed index
	inFlight []atomic.Bool // by group: a tick is proposed

	mu     sync.Mutex
	closed chan struct{} // closed when the closed index may have risen
}

func newOrder(n *Node, frontiers []uint64) *order {
	o := &order{
		n:        n,
		work:     make(chan struct{}, 1),
		inFlight: make([]atomic.Bool, len(frontiers)),
		closed:   make(chan struct{}),
	}
	lowest := frontiers[0]
	for _, f := range frontiers {
		lowest = min(lowest, f)
	}
	o.hub = watch.NewHub(history{o}, lowest, tailBytes)
	o.merge = watch.NewMerge(o.hub, frontiers)
	return o
}

// publish takes what a group's replica applied. The group's apply goroutine calls it.
func (o *order) publish(group int, frontier uint64, events []*store.Event) {
	o.merge.Publish(group, frontier, events...)
	o.moved()
}

// skip says that a group jumped to frontier and that the events between are
// in its history, if anywhere.
func (o *order) skip(group int, frontier uint64) {
	o.merge.Skip(group, frontier)
	o.moved()
}

func (o *order) moved() {
	if o.waiting.Load() > 0 {
		o.mu.Lock()
		close(o.closed)
		o.closed = make(chan struct{})
		o.mu.Unlock()
	}
	if o.wanted() {
		o.wake()
	}
}

// wanted reports whether anybody waits for the closed index.
func (o *order) wanted() bool {
	return o.waiting.Load() > 0 || o.hub.Watchers() > 0
}

func (o *order) wake() {
	select {
	case o.work <- struct{}{}:
	default:
	}
}

// catchUp returns when the closed index has reached index, or ctx ends.
func (o *order) catchUp(ctx context.Context, index uint64) error {
	if o.merge.Closed() >= index {
		return nil
	}
	o.waiting.Add(1)
	defer o.waiting.Add(-1)
	for {
		o.mu.Lock()
		moved := o.closed
		o.mu.Unlock()
		if o.merge.Closed() >= index {
			return nil
		}
		o.wake()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.n.stopping:
			return ErrStopped
		}
	}
}

// run proposes ticks while somebody waits.
func (o *order) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.work:
		}
		if !o.wanted() {
			continue
		}
		target := o.n.frontier()
		for _, i := range o.merge.Lagging(target) {
			if o.inFlight[i].CompareAndSwap(false, true) {
				o.n.wg.Go(func() { o.tick(ctx, o.n.groups[i], target) })
			}
		}
	}
}

const tickPause = 50 * time.Millisecond

// tick raises a group's frontier to floor. One is in flight per group at most.
func (o *order) tick(ctx context.Context, g *group, floor uint64) {
	cmd := store.Command{Op: store.OpTick, Floor: floor}
	if _, err := g.do(ctx, &cmd); err != nil {
		timer := time.NewTimer(tickPause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
	o.inFlight[g.id].Store(false)
	o.wake() // more may have been written meanwhile
}

// history is the merged history of all groups up to the closed index.
type history struct {
	o *order
}

var _ watch.Source = history{}

// Events implements watch.Source.
func (h history) Events(from, to uint64, limit int) ([]*store.Event, error) {
	to = min(to, h.o.merge.Closed())
	pages := make([][]*store.Event, len(h.o.n.groups))
	for i, g := range h.o.n.groups {
		page, err := g.st.Events(from, min(to, g.st.Frontier()), limit)
		if err != nil {
			return nil, err
		}
		pages[i] = page
	}
	return mergeEvents(pages, limit), nil
}

// mergeEvents merges pages, each in index order, into one of at most limit events.
func mergeEvents(pages [][]*store.Event, limit int) []*store.Event {
	var out []*store.Event
	for len(out) < limit {
		first := -1
		for i, page := range pages {
			if len(page) > 0 && (first < 0 || page[0].Index < pages[first][0].Index) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		out = append(out, pages[first][0])
		pages[first] = pages[first][1:]
	}
	return out
}
