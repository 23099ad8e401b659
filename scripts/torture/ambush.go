package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// propose asks a random member for the change, without waiting for the answer.
func (c *council) propose(ctx context.Context, a *amendment) {
	a.since = c.rec.Clock.Now()
	admin, id := c.admin(c.anyone()), c.ids[a.member]
	go func() {
		var v api.Verdict
		var err error
		if a.add {
			v, err = admin.Add(ctx, a.member.Peer)
		} else {
			v, err = admin.Remove(ctx, id)
		}
		if err == nil && v.Status != http.StatusCreated && v.Status != http.StatusNoContent {
			err = fmt.Errorf("%s: %w", v, errRefused)
		}
		a.answer <- err
	}()
}

var errRefused = errors.New("refused")

// ambush proposes the change and kills the member that logs the step the amendment says, right then. A member that was
// added is started as soon as it may be.
func (c *council) ambush(ctx context.Context, a *amendment) (*procs.Member, check.Step, error) {
	var tails []*procs.Tail
	for _, m := range c.cluster.Members {
		tail, err := m.Tail()
		if err != nil {
			return nil, check.Step{}, err
		}
		tails = append(tails, tail)
	}
	c.propose(ctx, a)
	if c.opt.kind == procs.Etcd {
		return c.ambushLeader(ctx, a)
	}
	soon, cancel := context.WithTimeout(ctx, changes)
	defer cancel()
	for taken := 0; ; {
		for _, tail := range tails {
			lines, err := tail.Lines()
			if err != nil {
				return nil, check.Step{}, err
			}
			for _, l := range lines {
				s, ok := stepOf(tail.Member.Name, l)
				if !ok {
					continue
				}
				if taken++; (taken >= a.after || a.eager && s.Kind == "hand over") && tail.Member.Running() {
					return tail.Member, s, c.fell(tail.Member)
				}
			}
		}
		if err := c.advance(soon, a); err != nil {
			return nil, check.Step{}, err
		}
		if err := pause(soon, time.Millisecond); err != nil {
			return nil, check.Step{}, c.notHealed(ctx, fmt.Errorf("%s took %d steps within %v, not %d", a.name(), taken, changes, a.after))
		}
	}
}

// advance takes the answer to the change, if there is one: a refusal means to propose again, consent to an
// addition to start the process.
func (c *council) advance(ctx context.Context, a *amendment) error {
	select {
	case err := <-a.answer:
		if err != nil {
			c.say("  %s: %v", a.name(), err)
			c.rep.checked("changes proposed again", 1)
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			c.propose(ctx, a)
			return nil
		}
		if a.add {
			return a.member.Start()
		}
	default:
	}
	return nil
}

// ambushLeader is ambush for a server that does not tell of its steps: the leader is killed some milliseconds after the request.
func (c *council) ambushLeader(ctx context.Context, a *amendment) (*procs.Member, check.Step, error) {
	victim, err := c.cluster.Leader(ctx, c.opt.kind)
	if err != nil {
		return nil, check.Step{}, err
	}
	if err := pause(ctx, time.Duration(a.after)*time.Millisecond); err != nil {
		return nil, check.Step{}, err
	}
	if err := c.fell(victim); err != nil || victim == a.member {
		return victim, check.Step{Kind: "some time"}, err
	}
	// etcd takes no change while a member is down.
	if err := pause(ctx, between(c.rng, 0, 2*time.Second)+time.Millisecond); err != nil {
		return nil, check.Step{}, err
	}
	return victim, check.Step{Kind: "some time"}, c.revive(ctx, victim)
}

// adopted notes the change in who the members are to be. A step was taken, so it is decided.
func (c *council) adopted(ctx context.Context, a *amendment) error {
	if c.opt.kind == procs.Etcd { // nobody knows: ask again until it is
		if a.add {
			return c.enlist(ctx, a.member, a.since)
		}
		return c.strike(ctx, a.member, a.since)
	}
	if !a.add {
		c.struck(a.member, a.since)
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, c.heals)
	defer cancel()
	for {
		list, err := c.admin(c.anyone()).Members(soon)
		if id := idOf(list, a.member); id != "" {
			c.enlisted(a.member, id, a.since)
			return nil
		}
		if pause(soon, 20*time.Millisecond) != nil {
			return c.notHealed(ctx, fmt.Errorf("%s: a step was taken and no member lists it (%w)", a.name(), err))
		}
	}
}
