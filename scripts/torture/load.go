package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// load is a mix of all operations from several clients on few, hot keys.
type load struct {
	t       *trial
	done    sync.WaitGroup
	stop    context.CancelFunc
	count   atomic.Int64
	perName int // operations before the keys are given new names

	ctx     context.Context //nolint:containedctx // of the clients, which come when members come
	clients int             // started so far, which are the numbers they have
}

// mix is how often each operation is drawn, in per cent.
func mix() []struct {
	kind  history.Kind
	share int
} {
	return []struct {
		kind  history.Kind
		share int
	}{
		{history.QuorumGet, 30},
		{history.Get, 5},
		{history.Set, 25},
		{history.CAS, 16},
		{history.Create, 5},
		{history.Update, 5},
		{history.Delete, 4},
		{history.CAD, 3},
		{history.Post, 7},
	}
}

// The keys of a load: few enough to collide, in several top-level directories and so in several groups.
const (
	segments = 6
	perDir   = 3
	queues   = 2
)

// startLoad starts two clients pinned to each member and two that move.
func (t *trial) startLoad(ctx context.Context, perName int) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{t: t, stop: stop, perName: perName, ctx: ctx}
	for i := range 2*t.opt.members + 2 {
		l.start(i, i < 2*t.opt.members)
	}
	return l
}

// join starts two clients pinned to a further member.
func (l *load) join(member int) {
	l.start(member, true)
	l.start(member, true)
}

func (l *load) start(member int, pinned bool) {
	a := l.t.actor(l.clients, member, pinned)
	a.lie = l.t.opt.lie
	l.clients++
	l.done.Go(func() {
		defer a.close()
		l.client(l.ctx, a)
	})
}

// end stops the clients and waits for them.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}

func (l *load) client(ctx context.Context, a *actor) {
	known := map[string]*history.Op{} // what this client last saw of a key
	interval := time.Second / time.Duration(l.t.opt.rate)
	for ctx.Err() == nil && !a.stranded() {
		begin := time.Now()
		op := l.draw(a, known)
		// The run's end does not cut requests short: what they did would be unknown for no reason.
		a.do(context.WithoutCancel(ctx), op)
		remember(known, op)
		if op.Outcome == history.OK && op.Kind.Writes() && a.rng.IntN(3) == 0 {
			a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Get, Key: op.Key, AtLeast: op.Index})
		}
		// Between half and one and a half of the interval, so that clients do not march in step.
		wait := interval/2 + time.Duration(a.rng.Int64N(int64(interval)))
		if pause(ctx, wait-time.Since(begin)) != nil {
			return
		}
	}
}

// draw decides on the next operation.
func (l *load) draw(a *actor, known map[string]*history.Op) *history.Op {
	n := a.rng.IntN(100)
	op := &history.Op{}
	for _, m := range mix() {
		if n -= m.share; n < 0 {
			op.Kind = m.kind
			break
		}
	}
	generation := int(l.count.Add(1)) / l.perName
	if op.Kind == history.Post {
		op.Key = fmt.Sprintf("/queue%d/in", a.rng.IntN(queues))
		return op
	}
	op.Key = fmt.Sprintf("/dir%d/g%d-%d", a.rng.IntN(segments), generation, a.rng.IntN(perDir))
	if op.Kind != history.CAS && op.Kind != history.CAD {
		return op
	}
	before := known[op.Key]
	if before == nil {
		op.Kind = history.QuorumGet // look first
		return op
	}
	op.PrevValue = before.Value
	if a.rng.IntN(2) == 0 {
		op.ByIndex = before.Index
	}
	return op
}

// remember keeps what an operation showed of its key, for compares to come.
func remember(known map[string]*history.Op, op *history.Op) {
	switch {
	case op.Outcome != history.OK || op.Kind == history.Post:
	case op.Kind.Removes() || (!op.Kind.Writes() && !op.Found):
		delete(known, op.Key)
	default:
		known[op.Key] = op
	}
}
