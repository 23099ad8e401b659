package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/witan-kv/witan/store"
)

const (
	// advanceEvery is how often the clock is advanced, and advanceMost by how
	// much at most. The room between the two is what a late timer may cost
	// before the clock loses time; the room between advanceMost and the slack
	// of a deadline, a tick, how long an advance may wait to be logged.
	advanceEvery = store.Tick * 2 / 5
	advanceMost  = store.Tick * 4 / 5
)

// advanceLost is how long an advance may be on its way before it counts as
// lost: a proposal forwarded to a leader that steps down vanishes.
const advanceLost = 2 * time.Second

// groupClock drives the clock of one group while this member leads it and it
// holds keys with a TTL (design §5).
//
// A key must not expire early, so no time may be counted that passed before
// the key was written: for any entry of the log, the advances that follow it
// may cover at most one tick from before it. Hence an advance is less than a tick,
// begins where the one before ended, is proposed without waiting for that one
// (else its slowness would have to be made up for, or be lost), and is never
// sent again. Each names the clock it starts from; when one is lost or another
// leader's comes between, those after it are void, and counting starts afresh.
type groupClock struct {
	send func(store.Command) error
	term uint64    // in which the rest was taken
	last time.Time // everything up to here is proposed, or dropped for good
	base int64     // the clock before the first advance on its way
	sent []advance // on their way, in order
}

type advance struct {
	to int64 // the clock it leads to
	at time.Time
}

// runClock runs the clock of a group, as now says that time passes.
func (g *group) runClock(ctx context.Context, now func() time.Time) {
	ticker := time.NewTicker(advanceEvery)
	defer ticker.Stop()
	c := groupClock{send: func(cmd store.Command) error {
		_, err := g.nh.Propose(g.session, oneCommand(&cmd), g.timeout)
		return err
	}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		clock, keys := g.st.Clock()
		term, leading := g.leading()
		c.step(now(), clock, term, leading && keys > 0)
	}
}

// step proposes the time since the last one, if this member is to run the clock.
func (c *groupClock) step(now time.Time, clock int64, term uint64, run bool) {
	if !run || term != c.term || !c.landed(now, clock) || !c.propose(now, clock) {
		c.term, c.last, c.base, c.sent = term, now, clock, c.sent[:0]
	}
}

// propose sends one advance on its way. It reports false if there is none to send or it was refused.
func (c *groupClock) propose(now time.Time, clock int64) bool {
	from := clock
	if n := len(c.sent); n > 0 {
		from = c.sent[n-1].to
	}
	d := now.Sub(c.last)
	if d <= 0 {
		return false // a clock that steps back, which the log must not hear of
	}
	if d > advanceMost {
		// Not a round number: two leaders' advances must never meet at the
		// same clock, or one of them would take the other's for its own.
		d = advanceMost - time.Duration(now.UnixNano()%int64(time.Millisecond))
	}
	if c.send(store.Command{Op: store.OpAdvance, Clock: from, Step: int64(d)}) != nil {
		return false
	}
	c.sent = append(c.sent, advance{from + int64(d), now})
	c.last = now
	return true
}

// landed forgets the advances that led to the present clock. It reports false
// if the clock is nowhere on their way, or the next one is overdue.
func (c *groupClock) landed(now time.Time, clock int64) bool {
	if i := slices.IndexFunc(c.sent, func(a advance) bool { return a.to == clock }); i >= 0 {
		c.sent = c.sent[:copy(c.sent, c.sent[i+1:])]
		c.base = clock
	}
	return clock == c.base && (len(c.sent) == 0 || now.Sub(c.sent[0].at) < advanceLost)
}
