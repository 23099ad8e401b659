package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func fsyncScenario() scenario {
	return scenario{
		name:     "fsync",
		about:    "an fsync fails once: the member stops in words, the others go on, nothing acknowledged is lost (DUR-7)",
		defaults: options{members: 3, groups: 1, rounds: 8, entries: string(powerfs.Journaled)},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "fsyncs that fail, in turn of the leader and of a follower, in the raft log and in a store")
			f.BoolVar(&o.lying, "silent-disk", false, "the disk tells nobody that the fsync has failed; must fail")
		},
		run: runFsync,
	}
}

func runFsync(ctx context.Context, t *trial) error {
	if err := powerfs.Possible(); err != nil {
		return err
	}
	p := &powerTrial{trial: t, rng: rand.New(rand.NewPCG(t.opt.seed, 1<<35))} //nolint:gosec // must be repeatable
	c := t.config()
	var err error
	if p.shelf, err = t.newShelf(&c, powerfs.Options{Entries: powerfs.Entries(t.opt.entries), Silent: t.opt.lying}); err != nil {
		return err
	}
	if err := t.boot(ctx, c); err != nil {
		return err
	}
	for round := range t.opt.rounds {
		if err := p.fsyncRound(ctx, round); err != nil {
			return err
		}
		if len(t.rep.Violations) > 0 {
			break // what follows would be the same
		}
	}
	t.rep.violate(check.Unique(t.rec.Ops())...)
	t.rep.violate(check.RealTime(t.rec.Ops(), check.OrderOf(t.opt.groups))...)
	return nil
}

// fsyncRound lets one fsync of one member fail while writers write, waits for the member's end, in every other round takes what was
// not synced, and starts it again.
func (p *powerTrial) fsyncRound(ctx context.Context, round int) error {
	stop := p.startScribes(ctx, round)
	defer stop()
	if err := pause(ctx, between(p.rng, 500*time.Millisecond, time.Second)); err != nil {
		return err
	}
	m, err := p.cluster.Leader(ctx, p.opt.kind)
	if err != nil {
		return err
	}
	if round%2 == 1 && p.opt.members > 1 {
		m = p.cluster.Members[(m.ID+1)%p.opt.members]
	}
	in := []string{"raft/", "group-"}[round/2%2]
	if err := p.failOnce(ctx, m, in); err != nil || len(p.rep.Violations) > 0 {
		return err
	}
	lost := "kept"
	if round/4%2 == 0 {
		l, err := p.shelf.cut(m.ID)
		if err != nil {
			return err
		}
		lost = fmt.Sprintf("%d pages and %d names lost", l.Pages, l.Entries)
	}
	p.say("round %d: %s, what was not synced: %s", round, m.Name, lost)
	if err := p.revive(ctx, m); err != nil {
		return err
	}
	stop()
	return p.audit(ctx, round)
}

// failOnce lets the next fsync of a member's files fail, waits until the member has ended, and judges how.
func (p *powerTrial) failOnce(ctx context.Context, m *procs.Member, in string) error {
	disk := p.shelf.of(m)
	tail, err := m.Tail()
	if err != nil {
		return err
	}
	disk.Set(powerfs.Faults{Syncs: 1, In: in})
	if err := bites(ctx, disk, func(b powerfs.Bites) int { return b.Syncs }); err != nil {
		disk.Set(powerfs.Faults{})
		if disk.Bites().Syncs == 0 {
			return fmt.Errorf("no fsync of %s in %s: %w", m.Name, in, err)
		}
	}
	failed := p.rec.Clock.Now()
	p.rep.fault("fsync-error in " + in)
	soon, cancel := context.WithTimeout(ctx, stopsWithin)
	defer cancel()
	for m.Running() {
		if pause(soon, 2*time.Millisecond) != nil {
			p.rep.violate(check.Violation{Check: "stop", Detail: fmt.Sprintf("%s goes on %v after an fsync of %s has failed", m.Name, stopsWithin, disk.Bites().Last)})
			return ctx.Err()
		}
	}
	p.rep.worst("from the failed fsync to the end, worst s", (p.rec.Clock.Now() - failed).Seconds())
	if err := p.lastWords(ctx, m, tail, []string{"input/output error", lostTable}); err != nil || p.opt.members == 1 {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // the others elect
		return err
	}
	p.rep.worst("gap of writes, worst s", p.gap(failed).Seconds())
	return nil
}

// gap is the longest time without an acknowledged write since a moment.
func (t *trial) gap(since time.Duration) time.Duration {
	var acks []time.Duration
	for _, op := range t.rec.Ops() {
		if op.Outcome == "ok" && op.Kind.Writes() && op.Return > since {
			acks = append(acks, op.Return)
		}
	}
	var longest time.Duration
	last := since
	for _, at := range sortedTimes(append(acks, t.rec.Clock.Now())) {
		longest, last = max(longest, at-last), at
	}
	return longest
}
