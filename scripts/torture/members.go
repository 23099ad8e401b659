package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
)

func membersScenario() scenario {
	return scenario{
		name:     "members",
		about:    "members are added, replaced one after another, moved and removed, under load",
		defaults: councilDefaults(),
		flags: func(f *flag.FlagSet, o *options) {
			councilFlags(f, o)
			f.IntVar(&o.replace, "replace", o.replace, "how many members are replaced (default each once)")
		},
		run: runMembers,
	}
}

// councilFlags are those of all scenarios with a council.
func councilFlags(f *flag.FlagSet, o *options) {
	f.IntVar(&o.rate, "rate", o.rate, "operations a second of each client")
	f.IntVar(&o.grow, "grow", o.grow, "members at most")
	f.DurationVar(&o.worst, "worst", o.worst, "a longer time without writes is a violation")
	f.DurationVar(&o.worstGroup, "worst-group", o.worstGroup, "a longer time without writes in one key group is a violation")
}

// councilDefaults are those of all scenarios with a council. A group without its leader is back after an election; one
// with a split vote, after two.
func councilDefaults() options {
	return options{members: 3, groups: 4, grow: 5, rate: 20, worst: 3 * time.Second, worstGroup: 5 * time.Second, duration: time.Second}
}

// runMembers grows the cluster, replaces every member, moves one, and shrinks it again (MEM-1, MEM-4, MEM-6).
func runMembers(ctx context.Context, t *trial) error {
	c, err := t.assemble(ctx)
	if err != nil {
		return err
	}
	err = c.rotate(ctx)
	c.disperse()
	if err != nil {
		return err
	}
	return c.conclude(ctx)
}

func (c *council) rotate(ctx context.Context) error {
	if err := c.breathe(ctx); err != nil {
		return err
	}
	for len(c.cluster.Members) < c.opt.grow {
		if err := c.grow(ctx); err != nil {
			return err
		}
		if err := c.breathe(ctx); err != nil {
			return err
		}
	}
	for n, i := range c.rng.Perm(len(c.cluster.Members)) {
		if c.opt.replace > 0 && n == c.opt.replace {
			break
		}
		if err := c.replace(ctx, c.cluster.Members[i]); err != nil {
			return err
		}
		if err := c.breathe(ctx); err != nil {
			return err
		}
	}
	if err := c.move(ctx, c.cluster.Members[c.rng.IntN(len(c.cluster.Members))]); err != nil {
		return err
	}
	if err := c.breathe(ctx); err != nil {
		return err
	}
	for len(c.cluster.Members) > c.opt.members {
		if err := c.retire(ctx, c.cluster.Members[c.rng.IntN(len(c.cluster.Members))]); err != nil {
			return err
		}
		if err := c.breathe(ctx); err != nil {
			return err
		}
	}
	return nil
}

// breathe lets the load run for a moment between two changes.
func (c *council) breathe(ctx context.Context) error {
	return pause(ctx, between(c.rng, 500*time.Millisecond, 1500*time.Millisecond))
}

// disperse ends the clients.
func (c *council) disperse() {
	c.load.end()
	c.pulse.end()
}

// conclude runs every check: those of all scenarios, and those of membership.
func (c *council) conclude(ctx context.Context) error {
	c.opt.duration = c.pulse.over - c.pulse.begin
	if err := c.heal(ctx); err != nil {
		return c.notHealed(ctx, err)
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	if err := c.balanced(ctx); err != nil {
		return err
	}
	c.look.end()
	views, asked := c.look.seen()
	c.rep.violate(check.Views(views, c.states)...)
	c.rep.checked("lists of members", asked)
	c.rep.checked("memberships", len(c.states))
	if len(views) < len(c.states) {
		c.rep.inconclusive("only %d different lists of members were seen of %d memberships", len(views), len(c.states))
	}
	steps, err := c.steps()
	if err != nil {
		return err
	}
	c.rep.violate(check.Apart(steps)...)
	for _, s := range steps {
		c.rep.checked(fmt.Sprintf("steps to %s", s.Kind), 1)
	}
	c.pulse.gaps(c.deeds, c.dark)
	return c.verdict(ctx, c.watchers)
}
