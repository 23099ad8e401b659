package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func gapScenario() scenario {
	return scenario{
		name:     "gap",
		about:    "the time without writes after the leader's death",
		defaults: options{members: 3, groups: 1, rounds: 5, worst: 10 * time.Second},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "leaders lost")
			f.BoolVar(&o.fresh, "fresh", false, "a fresh cluster each round, instead of restarting the member that died")
			f.BoolVar(&o.pause, "pause", false, "the leader is stopped by SIGSTOP instead of killed")
			f.DurationVar(&o.worst, "worst", o.worst, "a longer gap is a violation")
		},
		run: runGap,
	}
}

const (
	// before and after are how long writers run around the leader's death; the longest gap must fit.
	before = 2 * time.Second
	after  = 6 * time.Second
	// hasty is the writers' time-out, so short that none waits for a dead leader's answer while others are served.
	hasty = 200 * time.Millisecond
	// perMember is how many writers each member has.
	perMember = 3
)

// homeOf is a top-level directory that witan keeps in a key group, whatever the number of groups above it (design §3: a
// name of 20 digits belongs to the group of its number).
func homeOf(group int) string { return fmt.Sprintf("/%020d", group) }

func runGap(ctx context.Context, t *trial) error {
	var gaps []time.Duration
	for round := range t.opt.rounds {
		if round == 0 || t.opt.fresh {
			c := t.config()
			c.Dir = fmt.Sprintf("%s/%d", t.opt.dir, round)
			if err := t.reboot(ctx, c); err != nil {
				return err
			}
		}
		gap, err := t.gapRound(ctx)
		if err != nil {
			return err
		}
		t.say("round %d: %v without writes", round, gap.Round(time.Millisecond))
		t.rep.figure(fmt.Sprintf("gap %d s", round), gap.Seconds())
		if gap > t.opt.worst {
			t.rep.violate(check.Violation{Check: "liveness", Detail: fmt.Sprintf("no write for %v", gap)})
		}
		gaps = append(gaps, gap)
	}
	slices.Sort(gaps)
	t.rep.figure("gap median s", gaps[len(gaps)/2].Seconds())
	t.rep.figure("gap worst s", gaps[len(gaps)-1].Seconds())
	return nil
}

// reboot ends the cluster, if there is one, and starts a fresh one.
func (t *trial) reboot(ctx context.Context, c procs.Config) error {
	if t.cluster != nil {
		t.complaints()
		t.close()
	}
	if err := makeDir(c.Dir); err != nil {
		return err
	}
	return t.boot(ctx, c)
}

// gapRound lets writers write, takes the leader away, and returns the longest time without an acknowledgement.
func (t *trial) gapRound(ctx context.Context) (time.Duration, error) {
	earlier := len(t.rec.Ops())
	w, b := t.startWriters(ctx), t.startBystanders(ctx)
	defer w.end()
	defer b.end()
	if err := pause(ctx, before); err != nil {
		return 0, err
	}
	leader, led, err := t.spread(ctx)
	if err != nil {
		return 0, err
	}
	lost := t.rec.Clock.Now()
	if err := t.lose(leader); err != nil {
		return 0, err
	}
	if err := pause(ctx, after); err != nil {
		return 0, err
	}
	w.end()
	b.end()
	if t.opt.groups > 1 {
		if err := t.unharmed(b, leader, led, lost); err != nil {
			return 0, err
		}
	}
	if t.opt.pause {
		err = leader.Resume()
	} else if !t.opt.fresh {
		err = t.revive(ctx, leader)
	}
	if err != nil {
		return 0, err
	}
	ops := t.rec.Ops()[earlier:] // indexes of a fresh cluster begin anew
	t.rep.violate(check.Unique(ops)...)
	return longestGap(ops, lost)
}

// lose takes a member away.
func (t *trial) lose(m *procs.Member) error {
	if t.opt.pause {
		t.rep.fault("pause leader")
		return m.Pause()
	}
	t.rep.fault("kill leader")
	return m.Kill()
}

// writers write as fast as they can through every member.
type writers struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

func (t *trial) startWriters(ctx context.Context) *writers {
	ctx, stop := context.WithCancel(ctx)
	w := &writers{stop: stop}
	for i := range perMember * t.opt.members {
		a := t.actor(i, i, true)
		a.timeout = hasty
		w.done.Go(func() {
			defer a.close()
			key := fmt.Sprintf("%s/w%d", homeOf(0), a.id)
			for ctx.Err() == nil {
				if a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Set, Key: key}).Outcome != history.OK {
					_ = pause(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	return w
}

func (w *writers) end() {
	w.stop()
	w.done.Wait()
}

// longestGap is the longest time from just before lost without an acknowledged write. Without writes
// on both sides of it there is nothing to measure.
func longestGap(ops []*history.Op, lost time.Duration) (time.Duration, error) {
	var acks []time.Duration
	for _, op := range ops {
		if op.Outcome == history.OK && op.Client < bystanding {
			acks = append(acks, op.Return)
		}
	}
	slices.Sort(acks)
	from, _ := slices.BinarySearch(acks, lost)
	if from < fewest {
		return 0, fmt.Errorf("only %d writes before the leader was lost", from)
	}
	acks = append(acks, lost+after)
	var gap time.Duration
	for i := from; i < len(acks); i++ {
		gap = max(gap, acks[i]-acks[i-1])
	}
	return gap, nil
}
