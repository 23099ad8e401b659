package cluster

import (
	"context"
	"time"

	"github.com/witan-kv/witan/store"
)

// advanceEvery is below store.Tick, the most one advance may be, so that a
// late timer or a slow proposal does not make the clock lose time.
const advanceEvery = store.Tick * 4 / 5

// runClock advances the group clock while this member leads the group and the
// group holds keys with a TTL (design §5). How far is measured on the
// monotonic clock, from a moment this member already led in the same term, so
// that no time is ever counted twice.
func (g *group) runClock(ctx context.Context) {
	ticker := time.NewTicker(advanceEvery)
	defer ticker.Stop()
	var term uint64 // in which last was taken
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		clock, keys := g.st.Clock()
		current, leading := g.leading()
		if !leading || current != term || keys == 0 {
			term, last = current, now
			continue
		}
		step := min(now.Sub(last), store.Tick)
		last = now
		if !g.advance(ctx, clock, step) {
			last = time.Now()
		}
	}
}

// advance proposes one step of the clock and reports whether it was taken. An
// advance is void if another leader's came first.
func (g *group) advance(ctx context.Context, clock int64, step time.Duration) bool {
	cmd := store.Command{Op: store.OpAdvance, Clock: clock, Step: int64(step)}
	if _, err := g.do(ctx, &cmd); err != nil {
		return false
	}
	now, _ := g.st.Clock()
	return now == clock+int64(step)
}
