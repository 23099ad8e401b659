package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// rival proposes a second change, which must wait for the first or be refused: a member that never starts. One
// that joins would find another cluster than it was told of, so that the first change must not have come as far.
func (c *council) rival(ctx context.Context, a *amendment) (*procs.Member, error) {
	if a.all || a.add && a.member.Running() {
		return nil, nil
	}
	m, err := c.cluster.Add()
	if err != nil {
		return nil, err
	}
	c.roster.add(m.Client)
	c.roster.leave(m.ID)
	c.cluster.Drop(m)
	since := c.rec.Clock.Now()
	v, err := c.admin(c.anyone()).Add(ctx, m.Peer)
	switch {
	case err != nil:
		c.rep.checked("second change without an answer", 1)
	case v.Status == http.StatusCreated, v.Status == http.StatusConflict, v.Status == http.StatusInternalServerError:
		c.rep.checked(fmt.Sprintf("second change answered %d", v.Status), 1)
	default:
		c.rep.violate(check.Violation{Check: "apart", Detail: "a second change was answered " + v.String()})
	}
	c.say("  second change: %s", v)
	if v.Status == http.StatusCreated {
		c.seconded(m, v.Member.ID, since)
	}
	if err != nil || v.Status == http.StatusInternalServerError { // it may have been decided
		for _, other := range c.cluster.Members {
			if list, err := c.admin(other).Members(ctx); other.Running() && err == nil && idOf(list, m) != "" {
				c.seconded(m, idOf(list, m), since)
				break
			}
		}
	}
	return m, ctx.Err()
}

// seconded notes that the rival was let in.
func (c *council) seconded(m *procs.Member, id string, since time.Duration) {
	c.cluster.Members = append(c.cluster.Members, m)
	c.enlisted(m, id, since)
}

// dissolve removes the rival if it was let in.
func (c *council) dissolve(ctx context.Context, rival *procs.Member) error {
	if rival == nil || c.ids[rival] == "" {
		return nil
	}
	err := c.strike(ctx, rival, c.rec.Clock.Now())
	c.cluster.Drop(rival)
	return err
}
