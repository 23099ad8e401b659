package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// pulse is clients that write into each key group all the time and fail over at once, so that the time
// between their writes tells how long the group took none.
type pulse struct {
	t     *trial
	stop  context.CancelFunc
	done  sync.WaitGroup
	begin time.Duration
	over  time.Duration
}

const (
	beats   = 2 // clients a group
	beat    = 40 * time.Millisecond
	anxious = 400 * time.Millisecond // their time-out
)

// startPulse starts them.
func (t *trial) startPulse(ctx context.Context) *pulse {
	ctx, stop := context.WithCancel(ctx)
	p := &pulse{t: t, stop: stop, begin: t.rec.Clock.Now()}
	for i := range beats * t.opt.groups {
		a := t.actor(pulsing+i, i, false)
		a.timeout = anxious
		p.done.Go(func() {
			defer a.close()
			key := fmt.Sprintf("%s/p%d", homeOf(i%t.opt.groups), i)
			for ctx.Err() == nil {
				wait := beat
				if a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Set, Key: key}).Outcome != history.OK {
					wait = 10 * time.Millisecond
				}
				_ = pause(ctx, wait)
			}
		})
	}
	return p
}

func (p *pulse) end() {
	p.stop()
	p.done.Wait()
	if p.over == 0 {
		p.over = p.t.rec.Clock.Now()
	}
}

// acks are the times of acknowledged writes, of each group and of all.
func (p *pulse) acks() (groups [][]time.Duration, all []time.Duration) {
	for g := range p.t.opt.groups {
		var of []time.Duration
		for _, op := range p.t.rec.Ops() {
			if op.Client >= pulsing && op.Client < beginner && op.Outcome == history.OK && strings.HasPrefix(op.Key, homeOf(g)+"/") {
				of = append(of, op.Return)
			}
		}
		slices.Sort(of)
		groups, all = append(groups, of), append(all, of...)
	}
	slices.Sort(all)
	return groups, all
}

// gaps tells the longest times without writes for each kind of deed, in any group and over all groups, and judges them.
// While no member served there is nothing to judge.
func (p *pulse) gaps(deeds, dark []deed) {
	groups, all := p.acks()
	kinds := map[string][]float64{}
	for _, d := range deeds {
		worst := time.Duration(0)
		for _, acks := range groups {
			worst = max(worst, check.WidestGap(acks, d.begin, d.end))
		}
		kinds[d.what] = append(kinds[d.what], worst.Seconds())
		whole := check.WidestGap(all, d.begin, d.end)
		kinds[d.what+", all groups"] = append(kinds[d.what+", all groups"], whole.Seconds())
		p.t.say("%s from %.1f s to %.1f s: %.0f ms without writes in a group, %.0f ms in all",
			d.what, d.begin.Seconds(), d.end.Seconds(), 1e3*worst.Seconds(), 1e3*whole.Seconds())
	}
	for _, d := range deeds {
		for _, what := range []string{d.what, d.what + ", all groups"} {
			if times := kinds[what]; times != nil {
				slices.Sort(times)
				p.t.rep.figure("gap of "+what+", median s", times[len(times)/2])
				p.t.rep.figure("gap of "+what+", worst s", times[len(times)-1])
				delete(kinds, what)
			}
		}
	}
	begin := p.begin
	for _, d := range slices.Concat(dark, []deed{{begin: p.over}}) {
		p.t.rep.violate(tooLong(groups, begin, d.begin, p.t.opt.worstGroup)...)
		if gap := check.WidestGap(all, begin, d.begin); gap > p.t.opt.worst {
			p.t.rep.violate(check.Violation{Check: "gap", Detail: fmt.Sprintf("no key group took a write for %v", gap.Round(time.Millisecond))})
		}
		begin = d.end
	}
}

// tooLong says that no group went longer than that without a write, from begin to end.
func tooLong(groups [][]time.Duration, begin, end, limit time.Duration) []check.Violation {
	var out []check.Violation
	for g, acks := range groups {
		if gap := check.WidestGap(acks, begin, end); gap > limit {
			out = append(out, check.Violation{Check: "gap", Detail: fmt.Sprintf("group %d took no write for %v", g, gap.Round(time.Millisecond))})
		}
	}
	return out
}
