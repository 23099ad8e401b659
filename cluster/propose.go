package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/witan-kv/witan/store"
)

// proposal is a command somebody waits for.
type proposal struct {
	seq       uint64
	batch     *batch
	done      chan struct{} // closed when what follows is set
	result    store.Result
	raftIndex uint64
	err       error // why there is no result
}

// batch is the proposals that share a log entry. What raft does for an entry
// costs more than what it does for a command, so commands that come while
// an entry is on its way wait and go together. A lone writer waits for nobody.
//
// The goroutine of the first proposal carries the batch; the others only wait.
type batch struct {
	entry     []byte
	proposals []*proposal
	turn      chan struct{} // closed when it may be sent; nil if it never had to wait
	flying    bool          // counts as being on its way; guarded by group.mu
	open      int           // proposals without a result; guarded by group.mu

	began time.Time
	flown time.Time // when it set out; guarded by group.mu

	// Used by the carrier only.
	resend  time.Duration // after which the next try goes out
	term    uint64        // of the group when it began
	tries   int
	request *dragonboat.RequestState // of the last try, while its result may come
}

// batchesInFlight is how many batches may be between being sent and being
// applied where a round of raft takes longRound or more: there, waiting for the
// one before would cost a write half a round. Where a round is short, one is
// best: with 64 writers and one member it is a fifth less CPU than four, and
// faster, too.
const (
	batchesInFlight = 4
	longRound       = 2 * time.Millisecond
)

// joinFor is how long a batch that waits takes in more: the time-out of the
// first is that of all.
const joinFor = 100 * time.Millisecond

// resendAfter is when a batch without an answer is sent again. It doubles
// each time. The store does a repeated proposal once, so this is safe, and it
// is needed: a proposal forwarded to a leader that died, or was just stepping
// down, vanishes without a word (engine §0.10).
const resendAfter = time.Second

// begin numbers a command, so that its result finds the way back and a repeat
// is recognised, and puts it into a batch. The batch is returned if the caller
// is to carry it.
func (g *group) begin(cmd *store.Command) (*proposal, *batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &proposal{seq: g.next, done: make(chan struct{})}
	g.next++
	g.pending[p.seq] = p
	for g.pending[g.oldest] == nil {
		g.oldest++
	}
	cmd.Origin, cmd.Boot, cmd.Seq, cmd.Settled = g.self, g.boot, p.seq, g.oldest-1
	var carry *batch
	p.batch, carry = g.batchLocked()
	b := p.batch
	b.entry, g.scratch = appendCommand(b.entry, g.scratch, cmd)
	b.proposals = append(b.proposals, p)
	b.open++
	return p, carry
}

// batchLocked returns the batch that the next command goes into, and that
// batch again if it is a new one, which somebody must carry.
func (g *group) batchLocked() (b, fresh *batch) {
	now := time.Now()
	if b := g.open; b != nil && len(b.entry) < entryRoom && now.Sub(b.began) < joinFor {
		return b, nil
	}
	b = &batch{began: now, resend: resendAfter}
	g.open = b
	if len(g.queue) == 0 && g.mayFlyLocked() {
		g.flyLocked(b, now)
	} else {
		b.turn = make(chan struct{})
		g.queue = append(g.queue, b)
		g.launchLocked(now)
	}
	return b, b
}

// mayFlyLocked reports whether one batch more may be on its way. If several
// wait they are full, and nothing would be gained by waiting for more commands.
func (g *group) mayFlyLocked() bool {
	return g.inFlight == 0 || g.inFlight < batchesInFlight && (g.round >= longRound || len(g.queue) > 1)
}

func (g *group) flyLocked(b *batch, now time.Time) {
	b.flying, b.flown = true, now
	g.inFlight++
}

// launchLocked lets those that wait go as far as they may.
func (g *group) launchLocked(now time.Time) {
	for len(g.queue) > 0 && g.mayFlyLocked() {
		b := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		g.flyLocked(b, now)
		close(b.turn)
	}
}

// landLocked says that b is no longer on its way: the next ones may go.
func (g *group) landLocked(b *batch) {
	if !b.flying {
		return
	}
	now := time.Now()
	b.flying = false
	g.inFlight--
	g.round = now.Sub(b.flown)
	g.launchLocked(now)
}

// seal ends the taking in of commands, after those goroutines have had their
// turn that can run at once: what they are about to propose goes in the same
// entry. To a lone writer that is nothing.
func (g *group) seal(b *batch) {
	runtime.Gosched()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeLocked(b)
}

func (g *group) closeLocked(b *batch) {
	if g.open == b {
		g.open = nil
	}
}

// abandon says that nobody waits for p any more. Should its batch be sent
// again, the store takes it for done.
func (g *group) abandon(p *proposal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, p.seq)
}

// finish gives the proposals of this process among the commands their results.
// The apply goroutine calls it after the watchers have been told.
func (g *group) finish(commands []store.Command, results []store.Result, raftIndex uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range commands {
		if commands[i].Origin != g.self || commands[i].Boot != g.boot {
			continue
		}
		p := g.pending[commands[i].Seq]
		if p == nil {
			continue
		}
		p.result, p.raftIndex = results[i], raftIndex
		g.answerLocked(p)
		if b := p.batch; b.open == 0 {
			g.landLocked(b)
		}
	}
}

// answerLocked wakes whoever waits for p.
func (g *group) answerLocked(p *proposal) {
	delete(g.pending, p.seq)
	close(p.done)
	p.batch.open--
}

// end takes a batch that is carried no further off the group. The proposals
// that have no answer get err for one.
func (g *group) end(b *batch, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeLocked(b)
	for _, p := range b.proposals {
		if g.pending[p.seq] == p {
			p.err = err
			g.answerLocked(p)
		}
	}
	g.landLocked(b)
}

// do proposes a command and waits until it is applied here, at most g.timeout.
func (g *group) do(ctx context.Context, cmd *store.Command) (*proposal, error) {
	if err := g.takeSlot(ctx); err != nil {
		return nil, err
	}
	defer func() { <-g.slots }()
	p, b := g.begin(cmd)
	if b != nil {
		g.carry(ctx, b)
	}
	select {
	case <-p.done:
		return p, p.err
	default:
	}
	select {
	case <-p.done:
		return p, p.err
	case <-ctx.Done():
		g.abandon(p)
		return nil, context.Cause(ctx)
	}
}

// carry sends a batch until all its proposals have an answer. When ctx ends
// before that, and with it the interest in the first of them, somebody else
// goes on for the others.
func (g *group) carry(ctx context.Context, b *batch) {
	err := g.send(ctx, b)
	if err != nil && ctx.Err() != nil {
		go g.carry(context.WithoutCancel(ctx), b)
		return
	}
	g.end(b, err)
}

// send is carry without its end.
func (g *group) send(ctx context.Context, b *batch) error {
	if err := g.awaitTurn(ctx, b); err != nil {
		return err
	}
	if b.tries == 0 {
		g.seal(b)
		_, b.term, _ = g.lead.now()
	}
	deadline := b.began.Add(g.timeout)
	for {
		until := time.Now().Add(b.resend)
		if until.After(deadline) {
			until = deadline
		}
		err := g.attempt(ctx, b, until)
		if !errors.Is(err, errAgain) {
			return err
		}
		b.request = nil
		now := time.Now()
		if !now.Before(deadline) {
			return g.timedOut(b.term)
		}
		if !now.Before(until) {
			b.resend *= 2
		}
	}
}

// awaitTurn waits until b may be sent.
func (g *group) awaitTurn(ctx context.Context, b *batch) error {
	if b.turn == nil {
		return nil
	}
	select {
	case <-b.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.stopped:
		return ErrStopped
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

// errAgain says that a batch did not get an answer and is to be sent again.
var errAgain = errors.New("cluster: propose again")

// attempt proposes once, unless a try is on its way. It returns errAgain as
// soon as sending again may help: the batch was dropped, another leader is
// known, or until has come.
func (g *group) attempt(ctx context.Context, b *batch, until time.Time) error {
	leader, _, changed := g.lead.now()
	// At the first try the result says that all is done. Later, an earlier try may be.
	var done <-chan struct{}
	if b.tries > 0 {
		done = b.proposals[0].done
	}
	if b.request == nil {
		request, err := g.nh.Propose(g.session, b.entry, g.timeout)
		if err != nil {
			return g.refused(ctx, done, err, changed)
		}
		b.tries++
		b.request = request
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	result := b.request.ResultC()
	for {
		select {
		case <-done:
			return nil
		case r := <-result:
			b.request.Release()
			b.request = nil
			return g.unanswered(ctx, done, r, changed)
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
func (g *group) refused(ctx context.Context, done <-chan struct{}, err error, changed <-chan struct{}) error {
	switch {
	case errors.Is(err, dragonboat.ErrSystemBusy), errors.Is(err, dragonboat.ErrShardNotReady):
		return g.pause(ctx, done, changed)
	case errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardClosed), errors.Is(err, dragonboat.ErrShardNotFound):
		return ErrStopped
	default:
		return fmt.Errorf("cluster: propose: %w", err)
	}
}

// unanswered turns Dragonboat's verdict on a proposal into what is to be done
// next; nil if the proposal was applied.
func (g *group) unanswered(ctx context.Context, done <-chan struct{}, r dragonboat.RequestResult, changed <-chan struct{}) error {
	switch {
	case r.Completed():
		return nil
	case r.Dropped():
		return g.pause(ctx, done, changed)
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
