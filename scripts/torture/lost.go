package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func lostScenario() scenario {
	defaults := councilDefaults()
	defaults.rounds = 2
	return scenario{
		name:     "lost",
		about:    "disks are lost or rolled back: members replace themselves where they may and are refused where not, under load",
		defaults: defaults,
		flags: func(f *flag.FlagSet, o *options) {
			councilFlags(f, o)
			f.IntVar(&o.rounds, "rounds", o.rounds, "how often each member is struck")
		},
		run: runLost,
	}
}

// byItself are the flags of a member that comes back without hands.
func byItself() []string { return []string{"--replace-lost-self"} }

func runLost(ctx context.Context, t *trial) error {
	if t.opt.kind != procs.Witan {
		return errors.New("etcd has no --initial-cluster-state auto")
	}
	t.opt.state, t.opt.own = "auto", byItself()
	c, err := t.assemble(ctx)
	if err != nil {
		return err
	}
	err = c.misfortunes(ctx)
	c.disperse()
	if err != nil {
		return err
	}
	return c.conclude(ctx)
}

// misfortunes lets every kind of loss befall every member, in turns.
func (c *council) misfortunes(ctx context.Context) error {
	if err := c.breathe(ctx); err != nil {
		return err
	}
	if err := c.arrive(ctx); err != nil {
		return err
	}
	kinds := []func(context.Context, *procs.Member) error{c.loseDisk, c.rollBack, c.loseDiskAndWay, c.loseDiskInTheDark}
	for round := range c.opt.rounds {
		for n, i := range c.rng.Perm(len(c.cluster.Members)) {
			if err := c.breathe(ctx); err != nil {
				return err
			}
			if err := kinds[(round+n)%len(kinds)](ctx, c.cluster.Members[i]); err != nil {
				return err
			}
		}
	}
	return c.breathe(ctx)
}

// arrive starts a further member that nobody has added: it joins by itself.
func (c *council) arrive(ctx context.Context) error {
	m, err := c.cluster.Add()
	if err != nil {
		return err
	}
	c.roster.add(m.Client)
	m.Initial, m.State, m.Flags = c.cluster.Initial(), "auto", byItself()
	c.say("%s comes by itself", m.Name)
	since := c.rec.Clock.Now()
	if err := c.revive(ctx, m); err != nil {
		return err
	}
	if err := c.recognize(ctx, m, since); err != nil {
		return err
	}
	c.attend(ctx, m)
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.did("join by itself", since)
	return nil
}

// recognize learns the id a member has got by itself.
func (c *council) recognize(ctx context.Context, m *procs.Member, since time.Duration) error {
	list, err := c.admin(m).Members(ctx)
	if err != nil {
		return err
	}
	id := idOf(list, m)
	if id == "" {
		return c.notHealed(ctx, fmt.Errorf("%s serves and does not list itself", m.Name))
	}
	c.enlisted(m, id, since)
	return nil
}

// loseDisk takes a member's disk while it is down. It comes back without hands, under a new id.
func (c *council) loseDisk(ctx context.Context, m *procs.Member) error {
	c.say("%s loses its disk", m.Name)
	since, old := c.rec.Clock.Now(), c.ids[m]
	if err := c.fell(m); err != nil {
		return err
	}
	if err := m.Wipe(); err != nil {
		return err
	}
	if err := pause(ctx, between(c.rng, 0, 2*time.Second)+time.Millisecond); err != nil {
		return err
	}
	if err := c.reappear(ctx, m, old, since); err != nil {
		return err
	}
	c.did("disk lost", since)
	return nil
}

// reappear starts a member without its disk, which has to replace itself.
func (c *council) reappear(ctx context.Context, m *procs.Member, old string, since time.Duration) error {
	m.State, m.Flags = "auto", byItself()
	if err := c.revive(ctx, m); err != nil {
		return err
	}
	return c.renamed(ctx, m, old, since)
}

// renamed checks that a member which has replaced itself is another one now.
func (c *council) renamed(ctx context.Context, m *procs.Member, old string, since time.Duration) error {
	c.struck(m, since)
	if err := c.recognize(ctx, m, since); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	return c.gone(ctx, old)
}

// rollBack puts a member back on an older copy of its data while the cluster has gone on. It must not take part, and tell what to do.
func (c *council) rollBack(ctx context.Context, m *procs.Member) error {
	c.say("%s is rolled back", m.Name)
	since, old := c.rec.Clock.Now(), c.ids[m]
	if err := c.fell(m); err != nil {
		return err
	}
	copied := filepath.Join(c.opt.dir, m.Name+"."+old+".copy")
	if err := m.Save(copied); err != nil {
		return err
	}
	for range 1 + c.rng.IntN(2) { // the member goes on, and may be restarted meanwhile
		if err := c.revive(ctx, m); err != nil {
			return err
		}
		if err := c.breathe(ctx); err != nil {
			return err
		}
		if err := c.fell(m); err != nil {
			return err
		}
	}
	if err := m.Restore(copied); err != nil {
		return err
	}
	if err := c.refused(ctx, m, "member remove"); err != nil {
		return err
	}
	return c.readmit(ctx, m, old, "rolled back", since)
}

// loseDiskAndWay takes a member's disk, and starts it in ways in which it may not come back: it must say what to do. Then
// that is done.
func (c *council) loseDiskAndWay(ctx context.Context, m *procs.Member) error {
	c.say("%s loses its disk and may not replace itself", m.Name)
	since, old := c.rec.Clock.Now(), c.ids[m]
	if err := c.fell(m); err != nil {
		return err
	}
	m.Flags = nil
	initial := m.Initial
	for _, state := range []string{"new", "existing", "auto"} {
		if err := m.Wipe(); err != nil {
			return err
		}
		m.State, m.Initial = state, initial
		if state == "existing" {
			m.Initial = c.cluster.Initial()
		}
		if err := c.refused(ctx, m, "member remove"); err != nil {
			return err
		}
	}
	return c.readmit(ctx, m, old, "disk lost, by hand", since)
}

// readmit does what a member that was refused said: it is removed, its directory emptied, it is added again and started.
func (c *council) readmit(ctx context.Context, m *procs.Member, old, what string, since time.Duration) error {
	if err := c.strike(ctx, m, c.rec.Clock.Now()); err != nil {
		return err
	}
	if err := m.Wipe(); err != nil {
		return err
	}
	if err := c.enroll(ctx, m); err != nil {
		return err
	}
	if err := c.gone(ctx, old); err != nil {
		return err
	}
	c.did(what, since)
	return nil
}

// loseDiskInTheDark ends all members at once and takes one's disk. They are started together, as by a machine, and all come back.
func (c *council) loseDiskInTheDark(ctx context.Context, m *procs.Member) error {
	c.say("all are killed, and %s loses its disk", m.Name)
	since, old := c.rec.Clock.Now(), c.ids[m]
	for _, each := range c.cluster.Members {
		c.look.restarted(each.ID)
	}
	if err := c.cluster.Kill(); err != nil {
		return err
	}
	if err := m.Wipe(); err != nil {
		return err
	}
	m.State, m.Flags = "auto", byItself()
	if err := c.cluster.Start(); err != nil {
		return err
	}
	if err := c.ready(ctx); err != nil {
		return c.notHealed(ctx, err)
	}
	c.dark = append(c.dark, deed{begin: since, end: c.rec.Clock.Now()})
	if err := c.renamed(ctx, m, old, since); err != nil {
		return err
	}
	c.did("all killed, one disk lost", since)
	return nil
}
