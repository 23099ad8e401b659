package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// skew is what is done to clocks while keys wait to expire: to those of the members that lead, and to those of the others.
type skew struct {
	which string // wall or stopwatch
	lead  procs.Clock
	// rest and more are for members that lead nothing, or, where every member leads something, for the second and the third of them.
	rest, more procs.Clock
	drift      float64 // by which a clock may be wrong, as the check is told
}

func skews() map[string]skew {
	slowFast := skew{which: "stopwatch", lead: procs.Clock{Drift: -drift}, rest: procs.Clock{Drift: drift}, more: procs.Clock{Drift: -drift}, drift: drift}
	return map[string]skew{
		"ahead":  {which: "wall", lead: procs.Clock{Offset: jump}},
		"behind": {which: "wall", lead: procs.Clock{Offset: -jump}},
		"strobe": {which: "wall", lead: procs.Clock{Offset: jump, Strobe: strobing}},
		"skewed": {which: "wall", rest: procs.Clock{Offset: jump}, more: procs.Clock{Offset: -jump}},
		"fast":   {which: "stopwatch", lead: procs.Clock{Drift: drift}, drift: drift},
		"slow":   {which: "stopwatch", lead: procs.Clock{Drift: -drift}, drift: drift},
		"uneven": slowFast,
		"wrong":  {which: "stopwatch", lead: procs.Clock{Drift: 0.5}}, // must fail
	}
}

// spoilClocks makes the members' clocks wrong in the way that was asked for, and returns the drift they may have.
func (t *trial) spoilClocks(ctx context.Context, leader *procs.Member) (float64, error) {
	if t.opt.clock == "" {
		return 0, nil
	}
	k, ok := skews()[t.opt.clock]
	if !ok {
		return 0, fmt.Errorf("--clock: there is no %q; there are %s", t.opt.clock, strings.Join(slices.Sorted(maps.Keys(skews())), ", "))
	}
	if err := needsSeam(&t.opt); err != nil {
		return 0, err
	}
	leading, err := t.leading(ctx, leader)
	if err != nil {
		return 0, err
	}
	other := 0
	for _, m := range t.cluster.Members {
		c := k.lead
		if !leading[m.Name] || c == (procs.Clock{}) && m != leader || t.opt.clock == "uneven" && m != leader {
			c = []procs.Clock{k.rest, k.more}[other%2]
			other++
		}
		if c == (procs.Clock{}) {
			continue
		}
		t.say("%s of %s %s", k.which, m.Name, wrongness(c))
		if err := spoil(ctx, m, k.which, c); err != nil {
			return 0, err
		}
		t.rep.fault("clock " + t.opt.clock)
	}
	return k.drift, nil
}

// leading are the names of members that lead a group.
func (t *trial) leading(ctx context.Context, of *procs.Member) (map[string]bool, error) {
	names, err := t.cluster.IDs(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := of.Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{of.Name: true}
	for _, g := range groups {
		out[names[g.Leader]] = true
	}
	return out, nil
}

// passes is how often leaders move in a run with --change transfer, and changeCosts how much a key may be late for each: the
// new leader begins to measure, and what the old one has measured last may be lost.
const (
	passes      = 6
	changeCosts = 500 * time.Millisecond
)

// changeLeader takes the lead from the leader in the way that was asked for, while keys wait to expire, and returns how often.
func (t *trial) changeLeader(ctx context.Context, leader *procs.Member) (int, error) {
	if t.opt.change == "" {
		return 0, nil
	}
	if err := pause(ctx, t.opt.duration/3); err != nil { // some have expired, most have not
		return 0, err
	}
	t.rep.fault(t.opt.change + " leader")
	t.say("%s %s", t.opt.change, leader.Name)
	switch t.opt.change {
	case "kill":
		return 1, leader.Kill()
	case "pause":
		if err := leader.Pause(); err != nil {
			return 0, err
		}
		return 1, errors.Join(pause(ctx, t.opt.duration/4), leader.Resume())
	case "transfer":
		return passes, t.passOn(ctx, leader)
	}
	return 0, fmt.Errorf("--change is %q, not kill, pause or transfer", t.opt.change)
}

// passOn gives the lead of all groups to one member after the other.
func (t *trial) passOn(ctx context.Context, from *procs.Member) error {
	for n := range passes {
		to := t.cluster.Members[(from.ID+n+1)%len(t.cluster.Members)]
		for g := range t.opt.groups {
			if err := insistOn(ctx, to, g); err != nil {
				return err
			}
		}
		if err := pause(ctx, t.opt.duration/(2*passes)); err != nil {
			return err
		}
	}
	return nil
}

// insistOn gives a member the lead of a group. A leader that is asked may decline: another change is under way, or the member is behind.
func insistOn(ctx context.Context, to *procs.Member, group int) error {
	for end := time.Now().Add(heals); ; {
		err := to.Seam.Lead(ctx, group)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
