package main

import (
	"context"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

func quickScenario() scenario {
	return scenario{
		name:     "quick",
		about:    "a little of everything, for every commit: some minutes",
		defaults: options{members: 3, groups: 4, duration: 60 * time.Second},
		run:      runQuick,
	}
}

// part is one scenario as quick plays it.
type part struct {
	scenario scenario
	change   func(*options)
}

// parts are what quick plays, in order, with one and three members, one and four groups.
func parts() []part {
	return []part{
		{killScenario(), func(o *options) { o.groups, o.duration, o.snapshotCount = 1, 5*time.Second, 100 }},
		{killScenario(), func(o *options) { o.members, o.groups, o.duration = 1, 4, 3*time.Second }},
		{rootwatchScenario(), func(o *options) { o.duration = 5 * time.Second }},
		{ttlScenario(), func(o *options) { o.keys, o.duration, o.killLeader = 200, 3*time.Second, true }},
		{litmusScenario(), func(o *options) { o.groups, o.duration, o.rounds = 4, 6*time.Second, 1000 }},
		{membersScenario(), func(o *options) { o.grow, o.replace, o.worst, o.worstGroup = 4, 1, 10*time.Second, 20*time.Second }},
		{coordinatorScenario(), func(o *options) { o.grow, o.rounds, o.worst, o.worstGroup = 4, 2, 10*time.Second, 20*time.Second }},
		{powerScenario(), func(o *options) { o.rounds = 2 }},
		{stormScenario(), func(o *options) {
			o.duration, o.every, o.overlap, o.snapshotCount = 30*time.Second, 800*time.Millisecond, 2, 200
		}},
		{stormScenario(), func(o *options) {
			o.groups, o.duration, o.every, o.overlap = 1, 25*time.Second, 800*time.Millisecond, 2
		}},
	}
}

func runQuick(ctx context.Context, t *trial) error {
	for i, p := range parts() {
		if p.scenario.name == "power" && powerfs.Possible() != nil {
			t.say("no power cuts here: %v", powerfs.Possible())
			continue
		}
		o := p.scenario.defaults
		p.change(&o)
		o.keep = t.opt.keep
		if err := o.inherit(&t.opt, i); err != nil {
			return err
		}
		t.say("%s seed=%d members=%d groups=%d", p.scenario.name, o.seed, o.members, o.groups)
		t.rep.include(execute(ctx, &p.scenario, o, t.progress))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
