package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func stormScenario() scenario {
	return scenario{
		name:     "storm",
		about:    "harms of all kinds, one at a time or several at once, with all checks",
		defaults: options{members: 3, groups: 4, duration: time.Minute, rate: 40, overlap: 3, every: time.Second, seam: true},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rate, "rate", o.rate, "operations a second of each client")
			f.StringVar(&o.faults, "harms", o.faults, "kinds or families of them, comma-separated (default all): "+kindsOfHarm())
			f.IntVar(&o.overlap, "overlap", o.overlap, "harms at the same time, at most")
			f.DurationVar(&o.every, "every", o.every, "mean time between harms")
			f.BoolVar(&o.plain, "plain-as-quorum", false, "send quorum reads as plain ones; must fail")
			f.StringVar((*string)(&o.lie), "lie", "", "clients falsify what passes, must fail: "+lies())
			f.StringVar(&o.broken, "broken", "", "must fail: uncured (a member hangs when all should be well), crash (a member gets a segmentation fault), leak (watches stay open)")
		},
		run: runStorm,
	}
}

// family is harms that need the same of the cluster.
type family struct {
	name string
	// possible says why these harms cannot be done here, nil if they can. It may be nil.
	possible func(*options) error
	// prepare changes what the cluster is made of, before it is. It may be nil.
	prepare func(*storm, *procs.Config) error
	harms   []harm
}

// harm is one kind of fault and how to do it to a cluster in use.
type harm struct {
	kind   string
	weight int // how often, against the others
	// low and high are how long it lasts. The storm draws the time and then calls the cure.
	low, high time.Duration
	// strike does it, and returns what ends it: nil when nothing is left to end. It is called from the storm's goroutine, as the cure is, and
	// must return soon. errSpared says that there was nobody to do it to; any other error ends the run. A strike that
	// returns without error has seen that the fault took effect. A cure may answer errNotYet and is called again.
	strike func(context.Context, *storm) (cure func(context.Context) error, err error)
}

var (
	// errSpared says that no member or link was free for a harm just now.
	errSpared = errors.New("nobody to do it to")
	// errNotYet says that a cure has not worked so far and is to be tried again soon.
	errNotYet = errors.New("not yet")
)

// families are all harms there are.
func families() []family {
	return []family{processHarms(), memberHarms(), diskHarms(), networkHarms(), clockHarms(), leadershipHarms(), snapshotHarms(), limitHarms(), decayHarms()}
}

func kindsOfHarm() string {
	var out []string
	for _, f := range families() {
		var kinds []string
		for _, h := range f.harms {
			kinds = append(kinds, h.kind)
		}
		out = append(out, fmt.Sprintf("%s (%s)", f.name, strings.Join(kinds, ", ")))
	}
	return strings.Join(out, "; ")
}

// storm is a trial in which harms come at random, several at a time, each ended by its cure. Now and then all are cured
// and every group must take writes again.
type storm struct {
	*trial
	rng     *rand.Rand
	harms   []harm
	active  []*active
	busy    map[*procs.Member]string // members whose process is being harmed, and how
	bitten  map[string]int           // harms done, by kind
	spared  map[string]int
	weak    *procs.Member // has lost its data, or what it has cannot be trusted; until it is whole, no other may lose any
	visitor *procs.Member // is no member for long
	calms   int
	files   int // the least that a member had open before the storm
}

// active is a harm that is being done.
type active struct {
	kind string
	cure func(context.Context) error
	ends time.Duration
}

func runStorm(ctx context.Context, t *trial) error {
	s := &storm{
		trial: t, rng: rand.New(rand.NewPCG(t.opt.seed, 1<<34)), //nolint:gosec // must be repeatable
		busy: map[*procs.Member]string{}, bitten: map[string]int{}, spared: map[string]int{},
	}
	c := t.config()
	if err := s.choose(&c); err != nil {
		return err
	}
	if err := t.boot(ctx, c); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, t.opt.kind == procs.Witan)
	if err != nil {
		return err
	}
	t.startRoamers(ctx)
	locks := t.startLocks(ctx)
	l := t.startLoad(ctx, 2000)
	err = s.rageAndSettle(ctx)
	l.end()
	locks.end()
	if err != nil {
		return err
	}
	s.enoughHarm()
	return t.verdict(ctx, watchers)
}

// enoughHarm says whether it was a storm at all: of the harms there was time for, a fifth have to bite.
func (s *storm) enoughHarm() {
	done, drawn := 0, 0
	for _, h := range s.harms {
		done += s.bitten[h.kind]
		drawn += s.bitten[h.kind] + s.spared[h.kind]
	}
	s.rep.checked("harms nobody was free for", drawn-done)
	if meant := int(s.opt.duration / s.opt.every); done == 0 || done < meant/5 {
		s.rep.inconclusive("only %d harms took effect, where there was time for %d", done, meant)
	}
}

// choose takes the harms that were asked for and prepares the cluster for them. What cannot be done here is left out
// when everything was asked for, and an error when it was asked for by name.
func (s *storm) choose(c *procs.Config) error {
	asked := strings.FieldsFunc(s.opt.faults, func(r rune) bool { return r == ',' })
	known := map[string]bool{}
	for _, f := range families() {
		known[f.name] = true
		var chosen []harm
		for _, h := range f.harms {
			known[h.kind] = true
			if len(asked) == 0 || slices.Contains(asked, f.name) || slices.Contains(asked, h.kind) {
				chosen = append(chosen, h)
			}
		}
		if len(chosen) == 0 {
			continue
		}
		if f.possible != nil {
			if err := f.possible(&s.opt); err != nil {
				if len(asked) > 0 {
					return fmt.Errorf("%s: %w", f.name, err)
				}
				s.say("no harms of the family %s here: %v", f.name, err)
				continue
			}
		}
		if f.prepare != nil {
			if err := f.prepare(s, c); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		s.harms = append(s.harms, chosen...)
	}
	for _, name := range asked {
		if !known[name] {
			return fmt.Errorf("--harms: there is no %q; there are %s", name, kindsOfHarm())
		}
	}
	if len(s.harms) == 0 {
		return errors.New("no harm is possible here")
	}
	return nil
}

// rageAndSettle is the storm, with what members took before and must take afterwards.
func (s *storm) rageAndSettle(ctx context.Context) error {
	if err := pause(ctx, warms); err != nil {
		return err
	}
	start, err := s.usage(ctx)
	if err != nil {
		return err
	}
	s.files = start[0].Descriptors
	for _, u := range start {
		s.files = min(s.files, u.Descriptors)
	}
	if err := s.rage(ctx, s.rec.Clock.Now()+s.opt.duration); err != nil {
		return err
	}
	if s.opt.broken == "leak" {
		if err := s.leak(ctx, s.cluster.Members[0]); err != nil {
			return err
		}
	}
	return s.giveBack(ctx, start)
}

// calmEvery is how often all harms are cured at once, in a storm that lasts long enough.
const calmEvery = 20 * time.Second

// rage does harm until the time is over, and ends with a calm.
func (s *storm) rage(ctx context.Context, end time.Duration) error {
	calm := s.rec.Clock.Now() + calmEvery
	next := s.rec.Clock.Now() + s.opt.every
	for s.rec.Clock.Now() < end {
		if err := s.cureDue(ctx, s.rec.Clock.Now()); err != nil {
			return err
		}
		now := s.rec.Clock.Now()
		switch {
		case now >= calm:
			if err := s.calm(ctx); err != nil {
				return err
			}
			calm = s.rec.Clock.Now() + calmEvery
			next = s.rec.Clock.Now() + s.opt.every
		case now >= next && len(s.active) < s.opt.overlap:
			if err := s.strike(ctx); err != nil {
				return err
			}
			next = s.rec.Clock.Now() + between(s.rng, s.opt.every/2, s.opt.every*3/2)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return s.calm(ctx)
}

// strike draws a harm and does it.
func (s *storm) strike(ctx context.Context) error {
	h := s.draw()
	cure, err := h.strike(ctx, s)
	if errors.Is(err, errSpared) {
		s.spared[h.kind]++
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", h.kind, err)
	}
	s.bitten[h.kind]++
	s.rep.fault(h.kind)
	if cure == nil {
		return nil
	}
	lasts := h.low
	if h.high > h.low {
		lasts = between(s.rng, h.low, h.high)
	}
	s.active = append(s.active, &active{kind: h.kind, cure: cure, ends: s.rec.Clock.Now() + lasts})
	return nil
}

func (s *storm) draw() *harm {
	total := 0
	for i := range s.harms {
		total += s.harms[i].weight
	}
	n := s.rng.IntN(total)
	for i := range s.harms {
		if n -= s.harms[i].weight; n < 0 {
			return &s.harms[i]
		}
	}
	return nil
}

// cureDue ends the harms whose time is over.
func (s *storm) cureDue(ctx context.Context, now time.Duration) error {
	for i := 0; i < len(s.active); {
		a := s.active[i]
		if a.ends > now {
			i++
			continue
		}
		err := a.cure(ctx)
		if errors.Is(err, errNotYet) {
			a.ends = s.rec.Clock.Now() + again
			i++
			continue
		}
		if err != nil {
			return fmt.Errorf("end of %s: %w", a.kind, err)
		}
		s.active = slices.Delete(s.active, i, i+1)
	}
	return nil
}

// again is how long after errNotYet a cure is tried again.
const again = 200 * time.Millisecond

// cureAll ends all harms. Cures that depend on each other get several turns.
func (s *storm) cureAll(ctx context.Context) error {
	end := s.rec.Clock.Now() + 2*heals
	for {
		if err := s.cureDue(ctx, history.Never); err != nil || len(s.active) == 0 {
			return err
		}
		if s.rec.Clock.Now() > end {
			return s.notHealed(ctx, fmt.Errorf("%s could not be cured within %v", s.active[0].kind, 2*heals))
		}
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

// calm ends all harms and waits until every group takes writes, which must be soon (MR-8).
func (s *storm) calm(ctx context.Context) error {
	if err := s.cureAll(ctx); err != nil {
		return err
	}
	begin := s.rec.Clock.Now()
	if err := s.breakPromise(); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, 2*heals)
	defer cancel()
	if err := s.heal(soon); err != nil {
		return s.notHealed(ctx, err)
	}
	m := s.marker(calming + s.calms) // another each time: values must be unique
	s.calms++
	defer m.close()
	if _, err := s.sentinel(ctx, m, "calm"); err != nil {
		return s.notHealed(ctx, err)
	}
	took := s.rec.Clock.Now() - begin
	s.rep.checked("calms", 1)
	s.rep.worst("healed after, worst s", took.Seconds())
	if took > heals {
		s.rep.violate(check.Violation{Check: "liveness", Detail: fmt.Sprintf("it took %v from the last cure until all members served and all directories took writes", took)})
	}
	return nil
}

// victim draws a running member nobody harms the process of, and keeps others away from it until release.
func (s *storm) victim(how string) (*procs.Member, error) {
	var free []*procs.Member
	for _, m := range s.cluster.Members {
		if s.busy[m] == "" && m.Running() {
			free = append(free, m)
		}
	}
	if len(free) == 0 {
		return nil, errSpared
	}
	m := free[s.rng.IntN(len(free))]
	s.busy[m] = how
	return m, nil
}

// release lets other harms have the member.
func (s *storm) release(m *procs.Member) { delete(s.busy, m) }
