package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// departed waits until the process of a removed member has ended, which it must do by itself, in order and in time.
func (c *council) departed(ctx context.Context, m *procs.Member, limit time.Duration) error {
	begin := time.Now()
	soon, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	status, err := m.Ended(soon)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.rep.violate(check.Violation{Check: "removed", Detail: fmt.Sprintf("%s was removed and still ran %v later", m.Name, limit)})
		return m.Kill()
	}
	if status != 0 {
		c.rep.violate(check.Violation{Check: "removed", Detail: fmt.Sprintf("%s was removed and ended with status %d", m.Name, status)})
	}
	c.rep.worst("removed member ended after, worst s", time.Since(begin).Seconds())
	return nil
}

// comeback starts a removed member's process on its old data. It must be told that it was removed, and end.
func (c *council) comeback(ctx context.Context, m *procs.Member) error {
	return c.refused(ctx, m, "removed from the cluster")
}

// refused starts a member that must not get in: its process has to end by itself and log a line with one of those texts.
func (c *council) refused(ctx context.Context, m *procs.Member, texts ...string) error {
	tail, err := m.Tail()
	if err != nil {
		return err
	}
	c.look.restarted(m.ID)
	if err := m.Start(); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, c.returns)
	defer cancel()
	status, err := m.Ended(soon)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.rep.violate(check.Violation{Check: "removed", Detail: fmt.Sprintf("%s must not come back and still ran after %v", m.Name, c.returns)})
		return m.Kill()
	}
	lines, err := tail.Lines()
	if err != nil {
		return err
	}
	for _, l := range slices.Backward(lines) {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(l, text) }) {
			c.say("  %s is told (status %d): %s", m.Name, status, l)
			c.rep.checked("comebacks refused", 1)
			return nil
		}
	}
	c.rep.violate(check.Violation{
		Check: "removed", Detail: fmt.Sprintf("%s ended with status %d and no word of %q", m.Name, status, texts), Evidence: lines[max(0, len(lines)-5):],
	})
	return nil
}

// gone asks every member to remove an id again. All must say soon that it is gone for good.
func (c *council) gone(ctx context.Context, id string) error {
	soon, cancel := context.WithTimeout(ctx, c.heals)
	defer cancel()
	for _, m := range c.cluster.Members {
		for m.Running() && c.ids[m] != "" {
			v, err := c.admin(m).Remove(soon, id)
			if err == nil && v.Status == http.StatusGone {
				c.rep.checked("removed ids answered 410", 1)
				break
			}
			if pause(soon, 50*time.Millisecond) != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				c.rep.violate(check.Violation{Check: "removed", Detail: fmt.Sprintf("%s answers %v (%v) for the removed id %s", m.Name, v, err, id)})
				break
			}
		}
	}
	return nil
}
