package main

import (
	"context"
	"flag"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func upheavalScenario() scenario {
	defaults := councilDefaults()
	defaults.members, defaults.rounds = 5, 5
	return scenario{
		name:     "upheaval",
		about:    "a leader hangs, is removed behind its back while another member is killed, and wakes up, under load",
		defaults: defaults,
		flags: func(f *flag.FlagSet, o *options) {
			councilFlags(f, o)
			f.IntVar(&o.rounds, "rounds", o.rounds, "leaders removed")
		},
		run: runUpheaval,
	}
}

// runUpheaval is the mixture that has cost others data: a membership change, an old leader that does not know of it, and a
// quorum that is only just there (MEM-3).
func runUpheaval(ctx context.Context, t *trial) error {
	c, err := t.assemble(ctx)
	if err != nil {
		return err
	}
	err = c.breathe(ctx)
	for round := 0; round < t.opt.rounds && err == nil; round++ {
		if err = c.overthrow(ctx); err == nil {
			err = c.breathe(ctx)
		}
	}
	c.disperse()
	if err != nil {
		return err
	}
	return c.conclude(ctx)
}

// overthrow stops a leader, removes it, kills another member before, while or after that, and lets the leader go on.
func (c *council) overthrow(ctx context.Context) error {
	leader, err := c.cluster.Leader(ctx, c.opt.kind)
	if err != nil {
		return err
	}
	since, id := c.rec.Clock.Now(), c.ids[leader]
	c.say("%s leads, hangs and is removed", leader.Name)
	if err := leader.Pause(); err != nil {
		return err
	}
	other := c.anyone(leader)
	early := c.rng.IntN(2) == 0
	if early {
		if err := c.fell(other); err != nil {
			return err
		}
	}
	c.hung = leader
	if err := c.strike(ctx, leader, c.rec.Clock.Now()); err != nil {
		return err
	}
	if !early {
		if err := c.fell(other); err != nil {
			return err
		}
	}
	if err := c.breathe(ctx); err != nil {
		return err
	}
	if err := leader.Resume(); err != nil {
		return err
	}
	c.hung = nil
	if err := c.departed(ctx, leader, c.returns); err != nil {
		return err
	}
	if err := c.revive(ctx, other); err != nil {
		return err
	}
	return c.restore(ctx, leader, id, since)
}

// restore puts a new member in the place of one that was removed, and waits for the leaders to spread.
func (c *council) restore(ctx context.Context, m *procs.Member, old string, since time.Duration) error {
	c.look.restarted(m.ID)
	if err := m.Wipe(); err != nil {
		return err
	}
	if err := c.gone(ctx, old); err != nil {
		return err
	}
	if err := c.enroll(ctx, m); err != nil {
		return err
	}
	if err := c.balanced(ctx); err != nil {
		return err
	}
	c.did("leader removed while it hung", since)
	return nil
}
