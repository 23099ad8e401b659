package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func rootwatchScenario() scenario {
	return scenario{
		name:     "rootwatch",
		about:    "every member's watch of the whole tree tells the same, completely, while members die",
		defaults: options{members: 3, groups: 4, duration: 30 * time.Second, rate: 60, faults: "kill"},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rate, "rate", o.rate, "writes a second of each writer")
			f.StringVar(&o.faults, "faults", o.faults, "what is done to members in turn: kill, pause, stop, comma-separated")
		},
		run: runRootwatch,
	}
}

const (
	rootWriters = 8
	directories = 16 // top-level ones, so that all groups take part
)

func runRootwatch(ctx context.Context, t *trial) error {
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	// etcd's streams replay one event of the past only (contract §2.4), so they cannot resume there.
	watchers, err := t.rootWatchers(ctx, t.opt.kind == procs.Witan)
	if err != nil {
		return err
	}
	stop := t.startScatter(ctx)
	err = t.torment(ctx, t.rec.Clock.Now()+t.opt.duration)
	stop()
	if err != nil {
		return err
	}
	if err := t.verdict(ctx, watchers); err != nil {
		return err
	}
	for _, w := range watchers {
		t.rep.checked("watches accepted", w.ups)
	}
	return nil
}

// startScatter starts writers that put keys in many top-level directories, half of them pinned. The returned function ends them.
func (t *trial) startScatter(ctx context.Context) func() {
	ctx, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	for i := range rootWriters {
		a := t.actor(i, i, i%2 == 0)
		done.Go(func() {
			defer a.close()
			interval := time.Second / time.Duration(t.opt.rate)
			for n := 0; ctx.Err() == nil; n++ {
				begin := time.Now()
				a.do(context.WithoutCancel(ctx), scattered(a.rng))
				_ = pause(ctx, interval-time.Since(begin))
			}
		})
	}
	return func() { stop(); done.Wait() }
}

func scattered(rng *rand.Rand) *history.Op {
	op := &history.Op{Kind: history.Set, Key: fmt.Sprintf("/tree%d/%d", rng.IntN(directories), rng.IntN(50))}
	switch rng.IntN(10) {
	case 0:
		op.Kind = history.Delete
	case 1:
		op.Kind, op.Key = history.Post, fmt.Sprintf("/tree%d/queue", rng.IntN(directories))
	case 2:
		op.Kind, op.Key = history.Post, "/"
	}
	return op
}
