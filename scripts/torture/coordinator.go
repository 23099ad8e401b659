package main

import (
	"context"
	"flag"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func coordinatorScenario() scenario {
	defaults := councilDefaults()
	defaults.rounds = 20
	return scenario{
		name:     "coordinator",
		about:    "the member that carries a membership change out is killed after a random step of it, under load",
		defaults: defaults,
		flags: func(f *flag.FlagSet, o *options) {
			councilFlags(f, o)
			f.IntVar(&o.rounds, "rounds", o.rounds, "changes interrupted")
		},
		run: runCoordinator,
	}
}

// runCoordinator interrupts one change after another. Each must come to its end by itself, and none may be mixed with a second (MEM-2).
func runCoordinator(ctx context.Context, t *trial) error {
	c, err := t.assemble(ctx)
	if err != nil {
		return err
	}
	err = c.breathe(ctx)
	for round := 0; round < t.opt.rounds && err == nil; round++ {
		if err = c.interrupt(ctx, round); err == nil {
			err = c.breathe(ctx)
		}
	}
	c.disperse()
	if err != nil {
		return err
	}
	return c.conclude(ctx)
}

// amendment is a change on its way.
type amendment struct {
	member *procs.Member
	add    bool
	since  time.Duration
	answer chan error // nil when it is through
	after  int        // steps until the one who takes them is killed
	eager  bool       // or the one who hands a leadership over, if that comes first
	down   bool       // the member was down before it was removed
	all    bool       // everybody is killed then, not only the one who took the step
}

// name is the change for people.
func (a *amendment) name() string {
	if a.add {
		return "add " + a.member.Name
	}
	return "remove " + a.member.Name
}

// interrupt makes one change and kills the member that takes a random step of it.
func (c *council) interrupt(ctx context.Context, round int) error {
	a, err := c.draft(ctx)
	if err != nil {
		return err
	}
	victim, step, err := c.ambush(ctx, a)
	if err != nil {
		return err
	}
	what := "killed after " + step.Kind
	if a.all {
		what = "all " + what
	}
	c.say("%d: %s, %s, step %d, which %s took", round, a.name(), what, a.after, victim.Name)
	if a.all {
		if err := c.darken(ctx, a, victim); err != nil {
			return err
		}
	}
	if err := c.adopted(ctx, a); err != nil {
		return err
	}
	rival, err := c.rival(ctx, a)
	if err != nil {
		return err
	}
	if err := pause(ctx, between(c.rng, 0, 2*time.Second)+time.Millisecond); err != nil {
		return err
	}
	if err := c.finish(ctx, a, victim, rival); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.did(what, a.since)
	return nil
}

// allOdds: in one round of so many the power fails everywhere.
const allOdds = 4

// darken kills everybody else too, as when the power fails, and starts all again. The one who leaves need not become ready;
// the one who joins may not know the cluster yet and has to wait until there is one.
func (c *council) darken(ctx context.Context, a *amendment, victim *procs.Member) error {
	begin := c.rec.Clock.Now()
	down := []*procs.Member{victim}
	for _, m := range c.cluster.Members {
		if m.Running() {
			down = append(down, m)
			if err := c.fell(m); err != nil {
				return err
			}
		}
	}
	if err := pause(ctx, between(c.rng, 0, 500*time.Millisecond)+time.Millisecond); err != nil {
		return err
	}
	for _, m := range down {
		if a.add && m == a.member {
			continue
		}
		if err := m.Start(); err != nil {
			return err
		}
	}
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, m := range down {
		if m == a.member {
			continue
		}
		if err := m.Ready(soon); err != nil {
			return c.notHealed(ctx, err)
		}
	}
	c.dark = append(c.dark, deed{begin: begin, end: c.rec.Clock.Now()})
	return nil
}

// draft decides on a change: between the least and the greatest size either way.
func (c *council) draft(ctx context.Context) (*amendment, error) {
	size := len(c.cluster.Members)
	a := &amendment{
		add: size <= c.opt.members || (size < c.opt.grow && c.rng.IntN(2) == 0), answer: make(chan error, 1), all: c.rng.IntN(allOdds) == 0,
	}
	steps := 2 * (c.opt.groups + 1)
	if a.add {
		m, err := c.cluster.Add()
		if err != nil {
			return nil, err
		}
		c.roster.add(m.Client)
		m.Initial, m.State = c.cluster.Initial(), "existing"
		a.member, steps = m, 3*(c.opt.groups+1)
	} else {
		a.member, a.eager = c.cluster.Members[c.rng.IntN(size)], c.rng.IntN(2) == 0
		if size == 5 && c.rng.IntN(2) == 0 { // it is down already; with fewer members the kill to come would take the quorum
			if err := c.fell(a.member); err != nil {
				return nil, err
			}
			a.down = true
			if err := c.breathe(ctx); err != nil {
				return nil, err
			}
		}
	}
	a.after = 1 + c.rng.IntN(steps)
	return a, nil
}

// finish starts the victim again and sees the change through.
func (c *council) finish(ctx context.Context, a *amendment, victim, rival *procs.Member) error {
	if victim != a.member && !victim.Running() {
		if err := c.revive(ctx, victim); err != nil {
			return err
		}
	}
	if err := c.dissolve(ctx, rival); err != nil {
		return err
	}
	if a.add {
		if !a.member.Running() {
			if err := a.member.Start(); err != nil {
				return err
			}
		}
		soon, cancel := context.WithTimeout(ctx, settle)
		defer cancel()
		if err := a.member.Ready(soon); err != nil {
			return c.notHealed(ctx, err)
		}
		c.attend(ctx, a.member)
		return nil
	}
	id := c.removed[len(c.removed)-1]
	if victim == a.member && !a.all {
		if err := a.member.Start(); err != nil {
			return err
		}
	}
	if !a.down {
		if err := c.departed(ctx, a.member, c.returns); err != nil {
			return err
		}
	}
	c.dismiss(a.member)
	return c.gone(ctx, id)
}
