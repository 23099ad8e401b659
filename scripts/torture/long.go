package main

import (
	"context"
	"time"
)

func longScenario() scenario {
	return scenario{
		name:     "long",
		about:    "storms of every shape and all other scenarios in turn, each with a seed of its own, until the time is over",
		defaults: options{members: 3, groups: 4, duration: time.Hour},
		run:      runLong,
	}
}

// turns are what long plays, over and over: a storm after each of the others, with one, three and five members.
func turns() []part {
	storm := func(members, groups int, every time.Duration) part {
		return part{stormScenario(), func(o *options) {
			o.members, o.groups, o.every, o.duration, o.snapshotCount = members, groups, every, 2*time.Minute, 500
			o.rate = 120 // three times the usual
		}}
	}
	as := func(s scenario, change func(*options)) part { return part{s, change} }
	return []part{
		storm(3, 4, 500*time.Millisecond),
		as(rootwatchScenario(), func(o *options) { o.faults, o.snapshotCount = "kill,pause,stop", 300 }),
		storm(3, 1, 500*time.Millisecond),
		as(gapScenario(), func(o *options) { o.groups = 4 }),
		storm(5, 4, 450*time.Millisecond),
		as(powerScenario(), func(o *options) { o.members, o.groups = 3, 4 }),
		storm(1, 4, 700*time.Millisecond),
		as(membersScenario(), func(*options) {}),
		storm(3, 4, 350*time.Millisecond),
		as(ttlScenario(), func(o *options) { o.killLeader, o.groups = true, 4 }),
		storm(3, 1, 350*time.Millisecond),
		as(lostScenario(), func(*options) {}),
		storm(5, 1, 450*time.Millisecond),
		as(coordinatorScenario(), func(*options) {}),
		storm(1, 1, 700*time.Millisecond),
		as(upheavalScenario(), func(*options) {}),
		as(brimScenario(), func(*options) {}),
		as(gapScenario(), func(o *options) { o.pause = true }),
		as(litmusScenario(), func(*options) {}),
	}
}

func runLong(ctx context.Context, t *trial) error {
	for i := 0; i == 0 || t.rec.Clock.Now() < t.opt.duration; i++ {
		p := turns()[i%len(turns())]
		o := p.scenario.defaults
		p.change(&o)
		o.keep = t.opt.keep
		if err := o.inherit(&t.opt, i); err != nil {
			return err
		}
		t.say("%s seed=%d members=%d groups=%d", p.scenario.name, o.seed, o.members, o.groups)
		r := execute(ctx, &p.scenario, o, t.progress)
		if err := ctx.Err(); err != nil {
			return err
		}
		r.table(t.progress)
		t.rep.include(r)
		if t.opt.ledger != "" {
			if err := r.enter(t.opt.ledger, o.binary); err != nil {
				return err
			}
		}
	}
	return nil
}
