package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// shrinker looks for a shorter sequence that shows the same difference: it
// plays parts of the sequence on a pair of servers of its own, wiped between
// the tries.
type shrinker struct {
	products   [2]product
	groups     int
	deviations []deviation
}

// Limits that keep shrinking cheap beside the run itself.
const (
	shrinkTime    = 20 * time.Second // for all findings together
	shrinkClasses = 12
)

// shrinkAll tries the first finding of each class.
func (sh *shrinker) shrinkAll(ctx context.Context, rep *report) (err error) {
	if len(rep.findings) == 0 {
		return nil
	}
	p, err := newPair(ctx, sh.products, sh.groups)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	deadline := time.Now().Add(shrinkTime)
	done := make(map[string]bool)
	for i := range rep.findings {
		f := &rep.findings[i]
		if done[f.class()] || len(done) == shrinkClasses || time.Now().After(deadline) {
			continue
		}
		done[f.class()] = true
		f.shrunk = shrink(f.played, func(steps []step) bool {
			return ctx.Err() == nil && time.Now().Before(deadline) && sh.shows(p, steps, f.class())
		})
	}
	return ctx.Err()
}

// shows reports whether the steps lead to a difference of the class.
func (sh *shrinker) shows(p *pair, steps []step, class string) bool {
	pl := &player{pair: p, deviations: sh.deviations, report: newReport(), watchers: make(map[string]*watcher)}
	if pl.wipe() != nil {
		return false
	}
	for _, s := range steps {
		if pl.play(s) != nil {
			break
		}
		if len(pl.report.findings) > 0 {
			break
		}
	}
	for name := range pl.watchers {
		pl.closeWatch(name)
	}
	return slices.ContainsFunc(pl.report.findings, func(f finding) bool { return f.class() == class })
}

// shrink returns a part of steps that still shows what it is about, leaving out
// ever smaller pieces; nil if not even all of them show it again.
func shrink(steps []step, shows func([]step) bool) []step {
	if !shows(steps) {
		return nil
	}
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			without := slices.Concat(steps[:at], steps[at+size:])
			if len(without) > 0 && shows(without) {
				steps = without
			} else {
				at += size
			}
		}
	}
	return steps
}
