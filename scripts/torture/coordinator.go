package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
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
	c.say("%d: %s, killed %s after step %d, %s", round, a.name(), victim.Name, a.after, step.Kind)
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
	c.did("killed after "+step.Kind, a.since)
	return nil
}

// draft decides on a change: between the least and the greatest size either way.
func (c *council) draft(ctx context.Context) (*amendment, error) {
	size := len(c.cluster.Members)
	a := &amendment{add: size <= c.opt.members || (size < c.opt.grow && c.rng.IntN(2) == 0), answer: make(chan error, 1)}
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

// rival proposes a second change, which must wait for the first or be refused: a member that never starts. One
// that joins would find another cluster than it was told of, so that the first change must not have come as far.
func (c *council) rival(ctx context.Context, a *amendment) (*procs.Member, error) {
	if a.add && a.member.Running() {
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
	if victim == a.member {
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
