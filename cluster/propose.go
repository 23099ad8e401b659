package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/witan-kv/witan/store"
)

// proposal is a command somebody waits for.
type proposal struct {
	seq       uint64
	sent      bool
	done      chan struct{} // closed when result is set
	result    store.Result
	raftIndex uint64
}

// resendAfter is when a proposal without an answer is sent again. It doubles
// each time. The store does a repeated proposal once, so this is safe, and it
// is needed: a proposal forwarded to a leader that died, or was just stepping
// down, vanishes without a word (engine §0.10).
const resendAfter = time.Second

// begin numbers a command, so that its result finds the way back and a repeat
// is recognised.
func (g *group) begin(cmd *store.Command) *proposal {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &proposal{seq: g.next, done: make(chan struct{})}
	g.next++
	g.pending[p.seq] = p
	for g.pending[g.oldest] == nil {
		g.oldest++
	}
	cmd.Origin, cmd.Boot, cmd.Seq, cmd.Settled = g.self, g.boot, p.seq, g.oldest-1
	return p
}

// end says that nobody waits for p any more and it will not be sent again.
func (g *group) end(p *proposal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, p.seq)
}

// finish gives a proposal of this process its result. The apply goroutine
// calls it after the watchers have been told.
func (g *group) finish(cmd *store.Command, res store.Result, raftIndex uint64) {
	if cmd.Origin != g.self || cmd.Boot != g.boot {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.pending[cmd.Seq]; p != nil {
		p.result, p.raftIndex = res, raftIndex
		delete(g.pending, cmd.Seq)
		close(p.done)
	}
}

// do proposes a command and waits until it is applied here, at most g.timeout.
func (g *group) do(ctx context.Context, cmd *store.Command) (*proposal, error) {
	deadline := time.Now().Add(g.timeout)
	if err := g.takeSlot(ctx); err != nil {
		return nil, err
	}
	defer func() { <-g.slots }()
	p := g.begin(cmd)
	defer g.end(p)
	data := cmd.Encode()
	_, firstTerm, _ := g.lead.now()
	for resend := resendAfter; ; {
		until := time.Now().Add(resend)
		if until.After(deadline) {
			until = deadline
		}
		err := g.attempt(ctx, p, data, until)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
		now := time.Now()
		if !now.Before(deadline) {
			return nil, g.timedOut(firstTerm)
		}
		if !now.Before(until) {
			resend *= 2
		}
	}
}

// timedOut returns the error of a request that began in the given term and got
// no answer.
func (g *group) timedOut(term uint64) error {
	if leader, now, _ := g.lead.now(); leader == 0 || now != term {
		return ErrTimeoutLeader
	}
	return ErrTimeout
}

// takeSlot waits until one proposal more may be outstanding.
func (g *group) takeSlot(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrTimeout
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.stopped:
		return ErrStopped
	}
}

// errAgain says that a proposal did not get an answer and is to be sent again.
var errAgain = errors.New("cluster: propose again")

// attempt proposes once. It returns errAgain as soon as sending again may
// help: the proposal was dropped, another leader is known, or until has come.
func (g *group) attempt(ctx context.Context, p *proposal, data []byte, until time.Time) error {
	leader, _, changed := g.lead.now()
	rs, err := g.nh.Propose(g.session, data, g.timeout)
	if err != nil {
		return g.refused(ctx, p, err, changed)
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	// At the first try the result says that p is done. Later, an earlier try may be.
	result, done := rs.ResultC(), p.done
	if !p.sent {
		done = nil
	}
	p.sent = true
	for {
		select {
		case <-done:
			return nil
		case r := <-result:
			rs.Release()
			return g.unanswered(ctx, p, r, changed)
		case <-changed:
			var now uint64
			if now, _, changed = g.lead.now(); now != 0 && now != leader {
				return errAgain
			}
		case <-timer.C:
			return errAgain
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-g.stopped:
			return ErrStopped
		}
	}
}

// refused turns an error of Propose into what is to be done next. What it
// lets repeat certainly never entered the log (engine §2.3).
func (g *group) refused(ctx context.Context, p *proposal, err error, changed <-chan struct{}) error {
	switch {
	case errors.Is(err, dragonboat.ErrSystemBusy), errors.Is(err, dragonboat.ErrShardNotReady):
		return g.pause(ctx, p.done, changed)
	case errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardClosed), errors.Is(err, dragonboat.ErrShardNotFound):
		return ErrStopped
	default:
		return fmt.Errorf("cluster: propose: %w", err)
	}
}

// unanswered turns Dragonboat's verdict on a proposal into what is to be done
// next; nil if the proposal was applied.
func (g *group) unanswered(ctx context.Context, p *proposal, r dragonboat.RequestResult, changed <-chan struct{}) error {
	switch {
	case r.Completed():
		return nil
	case r.Dropped():
		return g.pause(ctx, p.done, changed)
	case r.Timeout():
		return errAgain
	default: // terminated, aborted
		return ErrStopped
	}
}

const dropPause = 20 * time.Millisecond

// pause waits a moment, or for another leader, before what was dropped goes
// again: then it returns errAgain, or nil if done was closed meanwhile.
func (g *raftGroup) pause(ctx context.Context, done, changed <-chan struct{}) error {
	timer := time.NewTimer(dropPause)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.stopped:
		return ErrStopped
	}
	return errAgain
}

// readIndex returns when this replica has applied everything that was
// committed when it was called (Raft §6.4). It does not touch the log.
func (g *raftGroup) readIndex(ctx context.Context) error {
	deadline := time.Now().Add(g.timeout)
	for {
		err := g.readIndexOnce(ctx)
		if !errors.Is(err, errAgain) {
			return err
		}
		if !time.Now().Before(deadline) {
			return ErrTimeout
		}
	}
}

// readAttempt is short because a read forwarded to a leader that is gone is
// never answered (engine §2.4).
const readAttempt = 500 * time.Millisecond

func (g *raftGroup) readIndexOnce(ctx context.Context) error {
	_, _, changed := g.lead.now()
	// Not INodeUser's ReadIndex: that one is looked at with the next tick only.
	rs, err := g.nh.ReadIndex(g.shard, readAttempt)
	switch {
	case err == nil:
		select {
		case r := <-rs.ResultC():
			rs.Release()
			switch {
			case r.Completed():
				return nil
			case r.Timeout():
				return errAgain
			case !r.Dropped():
				return ErrStopped
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-g.stopped:
			return ErrStopped
		}
	case !errors.Is(err, dragonboat.ErrSystemBusy) && !errors.Is(err, dragonboat.ErrShardNotReady):
		return ErrStopped
	}
	return g.pause(ctx, nil, changed)
}
