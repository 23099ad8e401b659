package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func killScenario() scenario {
	return scenario{
		name:     "kill",
		about:    "members killed one after another and all at once, under load",
		defaults: options{members: 3, groups: 1, duration: 40 * time.Second, rate: 40, faults: "kill"},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rate, "rate", o.rate, "operations a second of each client")
			f.StringVar(&o.faults, "faults", o.faults, "what is done to members in turn: kill, pause, stop, comma-separated")
			f.BoolVar(&o.plain, "plain-as-quorum", false, "send quorum reads as plain ones; must fail")
		},
		run: runKill,
	}
}

func runKill(ctx context.Context, t *trial) error {
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, false)
	if err != nil {
		return err
	}
	l := t.startLoad(ctx, 2000)
	err = t.torment(ctx, t.rec.Clock.Now()+t.opt.duration)
	l.end()
	if err != nil {
		return err
	}
	return t.verdict(ctx, watchers)
}

// rootWatchers starts a watcher of the whole tree for each member, from the index the cluster stands at, before anybody writes. With
// streams, each member gets a stream beside the chain of long polls.
func (t *trial) rootWatchers(ctx context.Context, streams bool) ([]*watcher, error) {
	a := t.marker(beginner)
	defer a.close()
	op, err := insist(ctx, a, "/dir0/begin", settle)
	if err != nil {
		return nil, err
	}
	var out []*watcher
	for i := range t.opt.members {
		out = append(out, t.startWatcher(ctx, watchSpec{member: i, pinned: i > 0, from: op.Index}))
		if streams {
			out = append(out, t.startWatcher(ctx, watchSpec{member: i, pinned: i == 0, stream: true, from: op.Index}))
		}
	}
	return out, nil
}

// torment lets each fault befall each member in turn and then all of them at once, until the time is over; every round is finished.
func (t *trial) torment(ctx context.Context, end time.Duration) error {
	rng := rand.New(rand.NewPCG(t.opt.seed, 1<<32)) //nolint:gosec // must be repeatable
	kinds := strings.Split(t.opt.faults, ",")
	for round := 0; round == 0 || t.rec.Clock.Now() < end; round++ {
		kind := kinds[round%len(kinds)]
		for _, i := range rng.Perm(t.opt.members) {
			if err := t.befall(ctx, kind, t.cluster.Members[i], rng); err != nil {
				return err
			}
		}
		if err := t.blackout(ctx, rng); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second)
}

// between is a time in [low, high).
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

// befall does one thing to one member, for a while, with load before and after.
func (t *trial) befall(ctx context.Context, kind string, m *procs.Member, rng *rand.Rand) error {
	if err := pause(ctx, between(rng, 500*time.Millisecond, 1500*time.Millisecond)); err != nil {
		return err
	}
	t.say("%s %s", kind, m.Name)
	var err error
	switch kind {
	case "kill":
		err = m.Kill()
	case "stop":
		err = m.Stop()
	case "pause":
		err = m.Pause()
	default:
		err = fmt.Errorf("unknown fault %q", kind)
	}
	if err != nil {
		return err
	}
	t.rep.fault(kind)
	if err := pause(ctx, between(rng, 100*time.Millisecond, 2500*time.Millisecond)); err != nil {
		return err
	}
	if kind == "pause" {
		return m.Resume()
	}
	return t.revive(ctx, m)
}

// revive starts a member and waits until it serves. That it does not is a violation.
func (t *trial) revive(ctx context.Context, m *procs.Member) error {
	begin := time.Now()
	if err := m.Start(); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if err := m.Ready(soon); err != nil {
		return t.notHealed(ctx, err)
	}
	t.rep.figure("recovery of last restart s", time.Since(begin).Seconds())
	return nil
}

// blackout kills all members and starts them again.
func (t *trial) blackout(ctx context.Context, rng *rand.Rand) error {
	if err := pause(ctx, between(rng, 500*time.Millisecond, 1500*time.Millisecond)); err != nil {
		return err
	}
	t.say("kill all")
	if err := t.cluster.Kill(); err != nil {
		return err
	}
	t.rep.fault("kill-all")
	if err := pause(ctx, between(rng, 0, 500*time.Millisecond)+time.Millisecond); err != nil {
		return err
	}
	if err := t.cluster.Start(); err != nil {
		return err
	}
	if err := t.ready(ctx); err != nil {
		return t.notHealed(ctx, err)
	}
	return nil
}
