package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// council is a trial whose members come and go under load.
type council struct {
	*trial
	limits
	rng   *rand.Rand
	load  *load
	pulse *pulse
	look  *lookout

	ids      map[*procs.Member]string
	watching map[*procs.Member][]*watcher
	watchers []*watcher // all there ever were; the first outlives every member
	states   []check.Membership
	removed  []string
	deeds    []deed
	refusal  string        // the last that was shown
	dark     []deed        // when no member served
	hung     *procs.Member // is paused and answers nobody
}

// deed is one thing that was done, for the gaps it may have caused.
type deed struct {
	what       string
	begin, end time.Duration
}

// limits are what removed members are held to.
type limits struct {
	leaves  time.Duration // until the process of a removed member has ended
	returns time.Duration // until one has that must not come back, or was interrupted on its way out
	heals   time.Duration // until every member knows of a removal
}

func promised() limits {
	return limits{leaves: 10 * time.Second, returns: 30 * time.Second, heals: heals}
}

const (
	// changes bounds a membership change, with refusals and elections on the way.
	changes = 60 * time.Second
	// balances is how soon leaders must be spread evenly (MEM-7).
	balances = 60 * time.Second
	// asking is an operator's patience, above the servers' own.
	asking = 15 * time.Second
)

// assemble boots a cluster and puts it under load and under watch.
func (t *trial) assemble(ctx context.Context) (*council, error) {
	if err := t.boot(ctx, t.config()); err != nil {
		return nil, err
	}
	c := &council{
		trial: t, limits: promised(), rng: rand.New(rand.NewPCG(t.opt.seed, 1<<34)), //nolint:gosec // must be repeatable
		ids: map[*procs.Member]string{}, watching: map[*procs.Member][]*watcher{},
	}
	list, err := t.admin(t.cluster.Members[0]).Members(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range t.cluster.Members {
		c.ids[m] = idOf(list, m)
	}
	c.decided(0)
	if c.watchers, err = t.rootWatchers(ctx, false); err != nil {
		return nil, err
	}
	for i, m := range t.cluster.Members {
		if i > 0 { // the first watcher moves on and does not belong to a member
			c.watching[m] = []*watcher{c.watchers[i]}
		}
	}
	c.look = t.startLookout(ctx)
	c.load = t.startLoad(ctx, 1000)
	c.pulse = t.startPulse(ctx)
	return c, nil
}

func (t *trial) admin(m *procs.Member) api.Admin { return api.Admin{Base: m.Client, Timeout: asking} }

func idOf(list []api.Member, m *procs.Member) string {
	for _, entry := range list {
		if slices.Contains(entry.PeerURLs, m.Peer) {
			return entry.ID
		}
	}
	return ""
}

// decided notes who the members are to be since a change was asked for.
func (c *council) decided(since time.Duration) {
	c.states = append(c.states, check.Membership{Since: since, IDs: c.wanted()})
}

// wanted are the ids of the members there are to be, in order.
func (c *council) wanted() []string {
	var ids []string
	for _, m := range c.cluster.Members {
		if c.ids[m] != "" {
			ids = append(ids, c.ids[m])
		}
	}
	slices.Sort(ids)
	return ids
}

// anyone is a running member, but not one of those.
func (c *council) anyone(but ...*procs.Member) *procs.Member {
	var running []*procs.Member
	for _, m := range c.cluster.Members {
		if m.Running() && m != c.hung && !slices.Contains(but, m) && c.ids[m] != "" {
			running = append(running, m)
		}
	}
	return running[c.rng.IntN(len(running))]
}

// did notes what was done since a time.
func (c *council) did(what string, since time.Duration) {
	c.deeds = append(c.deeds, deed{what, since, c.rec.Clock.Now()})
	c.rep.fault(what)
}

// enlist has a member added that has no id yet, and returns when it is. It may have been asked for before, since that time.
func (c *council) enlist(ctx context.Context, m *procs.Member, since time.Duration) error {
	return c.carry(ctx, "add", func(ctx context.Context) (bool, api.Verdict, error) {
		v, err := c.admin(c.anyone(m)).Add(ctx, m.Peer)
		id := v.Member.ID
		if id == "" { // it may have been added all the same
			list, _ := c.admin(c.anyone(m)).Members(ctx)
			id = idOf(list, m)
		}
		if id != "" {
			c.enlisted(m, id, since)
		}
		return id != "", v, err
	})
}

func (c *council) enlisted(m *procs.Member, id string, since time.Duration) {
	c.ids[m] = id
	if slices.Contains(c.removed, id) {
		c.rep.violate(check.Violation{Check: "members", Detail: "the id " + id + " was given again"})
	}
	c.decided(since)
}

// strike has a member removed, and returns when it is. It may have been asked for before, since that time.
func (c *council) strike(ctx context.Context, m *procs.Member, since time.Duration) error {
	id := c.ids[m]
	return c.carry(ctx, "remove", func(ctx context.Context) (bool, api.Verdict, error) {
		v, err := c.admin(c.anyone()).Remove(ctx, id)
		done := err == nil && (v.Status == http.StatusNoContent || v.Status == http.StatusGone)
		if done {
			c.struck(m, since)
		}
		return done, v, err
	})
}

func (c *council) struck(m *procs.Member, since time.Duration) {
	c.removed = append(c.removed, c.ids[m])
	c.ids[m] = ""
	c.decided(since)
}

// carry asks for a change again and again, each time through another member, until it is made.
func (c *council) carry(ctx context.Context, what string, ask func(context.Context) (bool, api.Verdict, error)) error {
	soon, cancel := context.WithTimeout(ctx, changes)
	defer cancel()
	for {
		done, v, err := ask(soon)
		c.answered(what, v, err)
		if done {
			return nil
		}
		if pause(soon, 100*time.Millisecond) != nil {
			return c.notHealed(ctx, fmt.Errorf("%s: not done within %v: %s", what, changes, reply(v, err)))
		}
	}
}

func reply(v api.Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	return v.String()
}

// answered counts the answers to changes, and shows those that refuse.
func (c *council) answered(what string, v api.Verdict, err error) {
	if err != nil {
		c.rep.checked(what+" without an answer", 1)
		c.say("  %s: %v", what, err)
		return
	}
	c.rep.checked(fmt.Sprintf("%s answered %d", what, v.Status), 1)
	if text := fmt.Sprintf("  %s: %s", what, v); v.Status >= 300 && text != c.refusal {
		c.refusal = text // once, however often it is repeated
		c.say("%s", text)
	}
}

// enroll adds a member with an empty disk as an operator does, starts it, and returns when it takes part.
func (c *council) enroll(ctx context.Context, m *procs.Member) error {
	if err := c.enlist(ctx, m, c.rec.Clock.Now()); err != nil {
		return err
	}
	if err := c.enter(ctx, m); err != nil {
		return err
	}
	return c.settled(ctx)
}

// attend gives a member that is new to the cluster clients and a watcher.
func (c *council) attend(ctx context.Context, m *procs.Member) {
	if len(c.watching[m]) > 0 || m.ID == 0 {
		return
	}
	c.load.join(m.ID)
	w := c.startWatcher(ctx, watchSpec{member: m.ID, pinned: true, from: c.rec.Highest() + 1})
	c.watching[m], c.watchers = []*watcher{w}, append(c.watchers, w)
}
