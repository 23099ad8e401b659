package main

import (
	"context"
	"net/http"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// grow adds one member through a random one and starts it.
func (c *council) grow(ctx context.Context) error {
	m, err := c.cluster.Add()
	if err != nil {
		return err
	}
	c.roster.add(m.Client)
	c.say("add %s", m.Name)
	since := c.rec.Clock.Now()
	if err := c.enroll(ctx, m); err != nil {
		return err
	}
	c.did("add", since)
	return nil
}

// replace lets a member lose everything and puts a new one in its place.
func (c *council) replace(ctx context.Context, m *procs.Member) error {
	c.say("replace %s", m.Name)
	since := c.rec.Clock.Now()
	if err := c.fell(m); err != nil {
		return err
	}
	if err := pause(ctx, between(c.rng, 0, time.Second)+time.Millisecond); err != nil {
		return err
	}
	old := c.ids[m]
	if err := c.strike(ctx, m, c.rec.Clock.Now()); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 { // its disk was not lost after all
		if err := c.comeback(ctx, m); err != nil {
			return err
		}
	}
	if err := m.Wipe(); err != nil {
		return err
	}
	if err := c.gone(ctx, old); err != nil {
		return err
	}
	if err := c.enroll(ctx, m); err != nil {
		return err
	}
	c.did("replace", since)
	return nil
}

// move lets a member go to another address, which it must not forget and the others must learn of.
func (c *council) move(ctx context.Context, m *procs.Member) error {
	c.say("move %s", m.Name)
	since := c.rec.Clock.Now()
	if err := c.fell(m); err != nil {
		return err
	}
	if err := c.cluster.Move(m); err != nil {
		return err
	}
	err := c.carry(ctx, "update", func(ctx context.Context) (bool, api.Verdict, error) {
		v, err := c.admin(c.anyone()).Update(ctx, c.ids[m], m.Peer)
		return err == nil && v.Status == http.StatusNoContent, v, err
	})
	if err != nil {
		return err
	}
	if err := c.revive(ctx, m); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.did("move", since)
	return nil
}

// fell kills a member.
func (c *council) fell(m *procs.Member) error {
	c.look.restarted(m.ID)
	return m.Kill()
}

// retire removes a member that runs. Its process must end by itself, and so must the next one on the same data.
func (c *council) retire(ctx context.Context, m *procs.Member) error {
	c.say("remove %s", m.Name)
	since, id := c.rec.Clock.Now(), c.ids[m]
	if err := c.strike(ctx, m, c.rec.Clock.Now()); err != nil {
		return err
	}
	if err := c.departed(ctx, m, c.leaves); err != nil {
		return err
	}
	if err := c.comeback(ctx, m); err != nil {
		return err
	}
	c.dismiss(m)
	if err := c.gone(ctx, id); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.did("remove", since)
	return nil
}

// dismiss forgets a member that has left for good.
func (c *council) dismiss(m *procs.Member) {
	c.roster.leave(m.ID)
	for _, w := range c.watching[m] {
		w.retire()
	}
	c.cluster.Drop(m)
}

// enter starts a member that was added, and returns when it serves.
func (c *council) enter(ctx context.Context, m *procs.Member) error {
	m.Initial, m.State = c.cluster.Initial(), "existing"
	if err := c.revive(ctx, m); err != nil {
		return err
	}
	c.attend(ctx, m)
	return nil
}
