package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
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

// enlist has a member added that has no id yet, asking others until one has done it, and returns when it is. It may have
// been asked for before, since that time.
func (c *council) enlist(ctx context.Context, m *procs.Member, since time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, changes)
	defer cancel()
	for {
		via := c.anyone(m)
		v, err := c.admin(via).Add(ctx, m.Peer)
		c.answered("add", v, err)
		if err == nil && v.Status == http.StatusCreated {
			c.enlisted(m, v.Member.ID, since)
			return nil
		}
		// It may have been added all the same.
		if list, err := c.admin(c.anyone(m)).Members(ctx); err == nil && idOf(list, m) != "" {
			c.enlisted(m, idOf(list, m), since)
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return c.notHealed(context.WithoutCancel(ctx), fmt.Errorf("%s was not added within %v: %v, %w", m.Name, changes, v, err))
		}
	}
}

func (c *council) enlisted(m *procs.Member, id string, since time.Duration) {
	c.ids[m] = id
	if slices.Contains(c.removed, id) {
		c.rep.violate(check.Violation{Check: "members", Detail: "the id " + id + " was given again"})
	}
	c.decided(since)
}

// strike has a member removed, asking others until it is. It may have been asked for before, since that time.
func (c *council) strike(ctx context.Context, m *procs.Member, since time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, changes)
	defer cancel()
	id := c.ids[m]
	for {
		v, err := c.admin(c.anyone()).Remove(ctx, id)
		c.answered("remove", v, err)
		if err == nil && (v.Status == http.StatusNoContent || v.Status == http.StatusGone) {
			c.struck(m, since)
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return c.notHealed(context.WithoutCancel(ctx), fmt.Errorf("%s was not removed within %v: %v, %w", m.Name, changes, v, err))
		}
	}
}

func (c *council) struck(m *procs.Member, since time.Duration) {
	c.removed = append(c.removed, c.ids[m])
	c.ids[m] = ""
	c.decided(since)
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

// enter starts a member that was added, and returns when it serves.
func (c *council) enter(ctx context.Context, m *procs.Member) error {
	m.Initial, m.State = c.cluster.Initial(), "existing"
	if err := c.revive(ctx, m); err != nil {
		return err
	}
	c.attend(ctx, m)
	return nil
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

// grow adds one member through a random one and starts it.
func (c *council) grow(ctx context.Context) (*procs.Member, error) {
	m, err := c.cluster.Add()
	if err != nil {
		return nil, err
	}
	c.roster.add(m.Client)
	c.say("add %s", m.Name)
	since := c.rec.Clock.Now()
	if err := c.enroll(ctx, m); err != nil {
		return m, err
	}
	c.did("add", since)
	return m, nil
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
	soon, cancel := context.WithTimeout(ctx, changes)
	defer cancel()
	for {
		v, err := c.admin(c.anyone()).Update(soon, c.ids[m], m.Peer)
		c.answered("update", v, err)
		if err == nil && v.Status == http.StatusNoContent {
			break
		}
		if pause(soon, 100*time.Millisecond) != nil {
			return c.notHealed(ctx, fmt.Errorf("%s was not moved within %v: %v, %w", m.Name, changes, v, err))
		}
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
