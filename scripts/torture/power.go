package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

func powerScenario() scenario {
	return scenario{
		name:     "power",
		about:    "the power fails: unsynced data of every member is gone, acknowledged writes are not",
		defaults: options{members: 1, groups: 1, rounds: 20, entries: string(powerfs.Journaled)},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "power cuts")
			f.BoolVar(&o.fresh, "fresh", false, "an empty disk for each round")
			f.StringVar(&o.entries, "entries", o.entries, "what makes names durable: kept (at once), ordered (any fsync; sizes too), journaled (any fsync), strict (fsync of the directory)")
			f.BoolVar(&o.lying, "lying-disk", false, "the disk ignores fsync; must fail")
			f.Func("server-flag", "passed to the server, may be repeated (etcd: --unsafe-no-fsync=true must fail)", func(s string) error {
				o.extra = append(o.extra, s)
				return nil
			})
		},
		run: runPower,
	}
}

// recutOdds: one cut in so many is followed by another while the members start.
const recutOdds = 4

func runPower(ctx context.Context, t *trial) error {
	if err := powerfs.Possible(); err != nil {
		return err
	}
	p := &powerTrial{trial: t, rng: rand.New(rand.NewPCG(t.opt.seed, 1<<33))} //nolint:gosec // must be repeatable
	for round := range t.opt.rounds {
		if round == 0 || t.opt.fresh {
			if err := p.start(ctx, round); err != nil {
				return err
			}
		}
		if err := p.round(ctx, round); err != nil {
			return err
		}
		if len(t.rep.Violations) > 0 {
			break // what follows would be the same losses again
		}
	}
	if p.loss.Pages+p.loss.Entries == 0 {
		t.rep.inconclusive("no power cut took anything")
	}
	t.rep.figure("pages lost unsynced", float64(p.loss.Pages))
	t.rep.figure("names lost unsynced", float64(p.loss.Entries))
	syncs := 0
	for _, d := range p.shelf.disks {
		syncs += d.Syncs()
	}
	t.rep.figure("fsyncs of the last disks", float64(syncs))
	t.rep.violate(check.Unique(t.rec.Ops()[p.first:])...)
	t.rep.violate(check.RealTime(t.rec.Ops()[p.first:], check.OrderOf(t.opt.groups))...)
	return nil
}

// powerTrial is a trial whose members keep their data on disks that can lose power.
type powerTrial struct {
	*trial
	rng   *rand.Rand
	loss  powerfs.Loss
	first int // operation on these disks
}

// start gives every member an empty disk and starts the cluster.
func (p *powerTrial) start(ctx context.Context, round int) error {
	if p.cluster != nil {
		p.complaints()
		p.close()
	}
	c := p.config()
	c.Dir = filepath.Join(p.opt.dir, fmt.Sprint(round))
	p.first = len(p.rec.Ops())
	var err error
	if p.shelf, err = p.newShelf(&c, powerfs.Options{Entries: powerfs.Entries(p.opt.entries), Lying: p.opt.lying}); err != nil {
		return err
	}
	return p.boot(ctx, c)
}

// round writes, cuts the power of all members at once, and looks for what was acknowledged.
func (p *powerTrial) round(ctx context.Context, round int) error {
	stop := p.startScribes(ctx, round)
	err := pause(ctx, between(p.rng, 200*time.Millisecond, 1500*time.Millisecond))
	if err == nil {
		err = p.cut()
	}
	stop()
	if err != nil {
		return err
	}
	if err := p.cluster.Start(); err != nil {
		return err
	}
	if p.rng.IntN(recutOdds) == 0 {
		if err := pause(ctx, between(p.rng, time.Millisecond, 400*time.Millisecond)); err != nil {
			return err
		}
		if err := p.cut(); err != nil {
			return err
		}
		if err := p.cluster.Start(); err != nil {
			return err
		}
	}
	if err := p.ready(ctx); err != nil {
		return p.notHealed(ctx, fmt.Errorf("after the power cut: %w", err))
	}
	return p.audit(ctx, round)
}

// cut kills every member and forgets what their disks had not synced.
func (p *powerTrial) cut() error {
	if err := p.cluster.Kill(); err != nil {
		return err
	}
	for i := range p.shelf.disks {
		l, err := p.shelf.cut(i)
		if err != nil {
			return err
		}
		p.loss.Pages, p.loss.Entries = p.loss.Pages+l.Pages, p.loss.Entries+l.Entries
	}
	p.rep.fault("power cut")
	return nil
}

// audit holds what is there against what was acknowledged.
func (p *powerTrial) audit(ctx context.Context, round int) error {
	c := api.NewClient(p.urls()[round%p.opt.members], settle)
	defer c.Close()
	at := p.rec.Clock.Now()
	l, err := c.List(ctx, "/", true)
	if err != nil {
		return err
	}
	l.At = at
	ops := p.rec.Ops()[p.first:]
	lost := check.Durable(ops, l, everything)
	p.rep.violate(lost...)
	written := 0
	for _, op := range ops {
		if op.Kind.Writes() && op.Outcome == history.OK {
			written++
		}
	}
	if written == 0 {
		p.rep.inconclusive("round %d: nothing was acknowledged before the cut", round)
	}
	p.say("round %d: %d writes acknowledged so far, %d keys there, %d wrong", round, written, len(l.Nodes), len(lost))
	p.rep.checked("keys held against acknowledgements", len(l.Nodes))
	return nil
}

const scribes = 8

// startScribes starts writers that write new keys as fast as they can, and now and then change or
// delete one of theirs. The returned function ends them.
func (p *powerTrial) startScribes(ctx context.Context, round int) func() {
	ctx, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	for i := range scribes {
		a := p.actor(i+scribes*round, i, true)
		done.Go(func() {
			defer a.close()
			key := func(n int) string { return fmt.Sprintf("/scribe%d/r%d-%d", i, round, n) }
			for n := 0; ctx.Err() == nil; n++ {
				op := &history.Op{Kind: history.Set, Key: key(n)}
				switch n % 10 {
				case 8:
					op.Key = key(n - 5)
				case 9:
					op.Kind, op.Key = history.Delete, key(n-7)
				}
				if a.do(context.WithoutCancel(ctx), op).Outcome != history.OK {
					_ = pause(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	return func() { stop(); done.Wait() }
}
