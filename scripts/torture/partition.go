package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/links"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func partitionScenario() scenario {
	return scenario{
		name:     "partition",
		about:    "cuts of each shape and bad links, one after the other: who is cut off answers with errors, the others go on",
		defaults: options{members: 3, groups: 1, rounds: 2, faults: shapeNames(), worst: heals, worstGroup: heals, snapshotCount: 50},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "rounds of each shape")
			f.StringVar(&o.faults, "shapes", o.faults, "which, comma-separated; ring and split want five members")
			f.BoolVar(&o.plain, "plain-as-quorum", false, "send quorum reads as plain ones; must fail")
			f.Func("server-flag", "passed to the server, may be repeated (etcd grows its terms unless --pre-vote=true)", func(s string) error {
				o.extra = append(o.extra, s)
				return nil
			})
		},
		run: runPartition,
	}
}

// shape is one kind of harm to the links around a member.
type shape struct {
	name     string
	follower bool // around a follower instead of the leader
	size     int  // members it takes, 3 when 0
	// alone says that the member and those it still reaches are a minority: nobody there may acknowledge anything.
	alone bool
	// calm says that it takes one election at most, so that terms must not grow much.
	calm bool
	// lay does it to a member, in the company of others. off ends it; it may be nil.
	lay func(r *partitionRun, m string, others []string) (off func())
}

func shapes() []shape {
	whole := func(r *partitionRun, m string, others []string) func() {
		return r.Lay(isolation([]string{m}, others, r.cut()))
	}
	return []shape{
		{name: "isolate-leader", alone: true, calm: true, lay: whole},
		{name: "isolate-follower", follower: true, alone: true, calm: true, lay: whole},
		{name: "mute", calm: true, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(towards([]string{m}, others, r.cut()))
		}},
		{name: "deaf", calm: true, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(towards(others, []string{m}, r.cut()))
		}},
		{name: "deaf-follower", follower: true, calm: true, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(towards(others, []string{m}, r.cut()))
		}},
		{name: "partial", calm: true, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(isolation([]string{m}, others[:1], r.cut()))
		}},
		{name: "split", size: 5, calm: true, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(isolation([]string{m, others[0]}, others[1:], r.cut()))
		}},
		{name: "ring", size: 5, lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(ring(append([]string{m}, others...), r.cut()))
		}},
		{name: "flap", lay: func(r *partitionRun, m string, others []string) func() {
			l := isolation([]string{m}, others, r.cut())
			return r.flap(l, 200*time.Millisecond, 500*time.Millisecond, r.rng.Uint64())
		}},
		{name: "slow", lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(isolation([]string{m}, others, links.Rule{Delay: 200 * time.Millisecond, Jitter: 150 * time.Millisecond}))
		}},
		{name: "thin", lay: func(r *partitionRun, m string, others []string) func() {
			return r.Lay(isolation([]string{m}, others, links.Rule{Rate: narrow}))
		}},
		{name: "reset", lay: func(r *partitionRun, m string, others []string) func() {
			l := isolation([]string{m}, others, links.Rule{Reset: true})
			return r.flap(l, 20*time.Millisecond, 200*time.Millisecond, r.rng.Uint64())
		}},
		{name: "half-open", lay: func(r *partitionRun, m string, others []string) func() {
			for _, other := range others {
				r.Orphan(m, other)
			}
			return nil
		}},
	}
}

// behind is the shape of a round of its own: a member that is cut off until the others have dropped what it misses.
const behind = "snapshot"

func shapeNames() string {
	var out []string
	for _, s := range shapes() {
		out = append(out, s.name)
	}
	return strings.Join(append(out, behind), ",")
}

// partitionRun is a trial with links.
type partitionRun struct {
	*trial
	*network
	rng     *rand.Rand
	clients int
	deeds   []deed
	times   map[string][]float64 // figures, by name
	order   []string
}

func runPartition(ctx context.Context, t *trial) error {
	r := &partitionRun{
		trial: t, network: &network{Net: links.New()}, times: map[string][]float64{},
		rng: rand.New(rand.NewPCG(t.opt.seed, 1<<35)), //nolint:gosec // must be repeatable
	}
	t.cleanups = append(t.cleanups, r.Net.Close)
	c := t.config()
	c.Links = r.Net
	if err := t.boot(ctx, c); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, t.opt.kind == procs.Witan)
	if err != nil {
		return err
	}
	p := t.startPulse(ctx)
	defer p.end()
	asked := strings.Split(t.opt.faults, ",")
	for range t.opt.rounds {
		for _, s := range shapes() {
			if !slices.Contains(asked, s.name) || s.size > t.opt.members {
				continue
			}
			if err := r.round(ctx, &s); err != nil {
				return err
			}
		}
	}
	p.end()
	p.gaps(r.deeds, nil)
	r.figures()
	if slices.Contains(asked, behind) {
		late, err := r.snapshotRound(ctx)
		if err != nil {
			return err
		}
		watchers = append(watchers, late...)
	}
	return t.verdict(ctx, watchers)
}

// isolates is the first number of the clients that ask around a cut, beside those of verdict.go.
const isolates = 4000

// lasts is how long a harm lasts that is not ended by its probes, answers the time a server has to say that it cannot (contract §3.2), with slack.
const (
	lasts   = 3 * time.Second
	answers = 7*time.Second + time.Second
)

// round does one harm and measures what it costs.
func (r *partitionRun) round(ctx context.Context, s *shape) error {
	if err := r.learn(ctx, r.cluster); err != nil {
		return err
	}
	m, others, err := r.chosen(ctx, s.follower)
	if err != nil {
		return err
	}
	terms := r.terms(ctx)
	around := isolation([]string{m.Name}, others, links.Rule{})
	before := r.bitten(around)
	begin := r.rec.Clock.Now()
	off := s.lay(r, m.Name, others)
	r.say("%s: %s", s.name, m.Name)
	if !r.bites(ctx, around, before) {
		r.rep.inconclusive("%s of %s was not felt", s.name, m.Name)
	}
	r.rep.fault(s.name)
	if s.alone {
		r.refuses(ctx, s, m)
	} else if err := pause(ctx, lasts); err != nil {
		return err
	}
	healed := r.rec.Clock.Now()
	if off != nil {
		off()
	}
	if err := r.serves(ctx, s.name, m, healed); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil { // in which a healed member would disturb
		return err
	}
	r.deeds = append(r.deeds, deed{s.name, begin, r.rec.Clock.Now()})
	r.grown(s, terms, r.terms(ctx))
	return nil
}

// cut draws how bytes are kept from passing.
func (r *partitionRun) cut() links.Rule {
	rule, _ := cut(r.rng)
	return rule
}

// chosen is the leader or a follower, and the names of the others in any order.
func (r *partitionRun) chosen(ctx context.Context, follower bool) (*procs.Member, []string, error) {
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	m, err := r.cluster.Leader(soon, r.opt.kind)
	if err != nil {
		return nil, nil, r.notHealed(ctx, err)
	}
	if follower {
		m = r.cluster.Members[(m.ID+1+r.rng.IntN(len(r.cluster.Members)-1))%len(r.cluster.Members)]
	}
	others := without(names(r.cluster), m.Name)
	r.rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return m, others, nil
}

// client is a client of its own, pinned to a member.
func (r *partitionRun) client(m *procs.Member, timeout time.Duration) *actor {
	r.clients++
	a := r.actor(isolates+r.clients, m.ID, true)
	a.timeout = timeout
	return a
}

// refuses asks a member that is cut off to write and to read by quorum. It must say in time that it cannot.
func (r *partitionRun) refuses(ctx context.Context, s *shape, m *procs.Member) {
	asked := make(chan *history.Op)
	kinds := []history.Kind{history.Set, history.QuorumGet, history.Create, history.Delete}
	n := 0
	for g := range r.opt.groups {
		for _, kind := range kinds {
			n++
			a := r.client(m, answers+time.Second)
			go func() {
				defer a.close()
				asked <- a.do(ctx, &history.Op{Kind: kind, Key: fmt.Sprintf("%s/cut%d", homeOf(g), a.id)})
			}()
		}
	}
	for range n {
		op := <-asked
		took := op.Return - op.Call
		if op.Return == history.Never { // a write whose outcome is not known
			took = r.rec.Clock.Now() - op.Call
		}
		r.rep.checked("asked while cut off", 1)
		r.rep.worst("refusal of who is cut off, worst s", took.Seconds())
		switch {
		case op.Outcome == history.OK, op.Outcome == history.Fail && op.Code > 0:
			r.rep.violate(check.Violation{Check: "cut-off", Detail: fmt.Sprintf("%s: %s has no quorum and answered %s", s.name, m.Name, op)})
		case took > answers:
			r.rep.violate(check.Violation{Check: "cut-off", Detail: fmt.Sprintf("%s: %s did not say within %v that it has no quorum: %s", s.name, m.Name, answers, op)})
		}
	}
}

// serves waits until every group takes writes, and until the member takes and reads them by quorum, and notes how long each took.
func (r *partitionRun) serves(ctx context.Context, what string, m *procs.Member, healed time.Duration) error {
	other := r.cluster.Members[(m.ID+1)%len(r.cluster.Members)]
	for _, at := range []struct {
		m    *procs.Member
		name string
	}{{other, "until all groups commit"}, {m, "until the member serves"}} {
		a := r.client(at.m, anxious)
		defer a.close()
		for g := range r.opt.groups {
			if _, err := insist(ctx, a, fmt.Sprintf("%s/healed", homeOf(g)), heals); err != nil {
				return r.notHealed(ctx, fmt.Errorf("after %s, through %s: %w", what, at.m.Name, err))
			}
			op := &history.Op{Outcome: history.Unknown}
			for begin := r.rec.Clock.Now(); op.Outcome != history.OK; {
				op = a.do(ctx, &history.Op{Kind: history.QuorumGet, Key: fmt.Sprintf("%s/healed", homeOf(g))})
				if r.rec.Clock.Now()-begin > heals {
					return r.notHealed(ctx, fmt.Errorf("after %s, no quorum read through %s: %s", what, at.m.Name, op.Err))
				}
			}
		}
		r.note(what+": "+at.name, (r.rec.Clock.Now() - healed).Seconds())
	}
	return nil
}

// terms are the terms of the groups, the highest any member knows.
func (r *partitionRun) terms(ctx context.Context) []uint64 {
	out := make([]uint64, r.opt.groups)
	for _, m := range r.cluster.Members {
		terms, err := m.Terms(ctx)
		if err != nil {
			r.say("terms: %v", err)
			continue
		}
		for g := range min(len(out), len(terms)) {
			out[g] = max(out[g], terms[g])
		}
	}
	return out
}

// mostTerms is how far a cut may raise a group's term: an election, and one that ends in a draw.
const mostTerms = 2

// grown looks how far the terms have grown since.
func (r *partitionRun) grown(s *shape, before, after []uint64) {
	var most uint64
	for g := range after {
		most = max(most, after[g]-before[g])
	}
	r.note(s.name+": terms", float64(most))
	if s.calm && most > mostTerms {
		r.rep.violate(check.Violation{Check: "terms", Detail: fmt.Sprintf("%s raised the terms from %v to %v", s.name, before, after)})
	}
}

func (r *partitionRun) note(name string, value float64) {
	if r.times[name] == nil {
		r.order = append(r.order, name)
	}
	r.times[name] = append(r.times[name], value)
}

func (r *partitionRun) figures() {
	for _, name := range r.order {
		values := r.times[name]
		slices.Sort(values)
		unit := " s"
		if strings.HasSuffix(name, "terms") {
			unit = ""
		}
		r.rep.figure(name+", median"+unit, values[len(values)/2])
		r.rep.figure(name+", worst"+unit, values[len(values)-1])
	}
}

const (
	// reach is how far the watches of a member that fell behind are off the index it stands at.
	reach, apart = 100, 10
	// missed is how many entries of each log it misses: more than witan keeps with --snapshot-count 50, and than etcd ever keeps.
	missed, missedByEtcd = 200, 6000
)

// snapshotRound cuts a member off until the others' logs no longer have what it misses, with watches at indexes around the one
// it stands at (MR-4). It returns the watchers, for whom all holds that holds for any.
func (r *partitionRun) snapshotRound(ctx context.Context) ([]*watcher, error) {
	if err := r.learn(ctx, r.cluster); err != nil {
		return nil, err
	}
	m, others, err := r.chosen(ctx, true)
	if err != nil {
		return nil, err
	}
	tail, err := m.Tail()
	if err != nil {
		return nil, err
	}
	at := r.rec.Highest()
	var watchers []*watcher
	watch := func(offset int) {
		from := uint64(max(1, int(at)+offset))
		watchers = append(watchers, r.startWatcher(ctx, watchSpec{member: m.ID, pinned: true, from: from, stream: r.opt.kind == procs.Witan && offset%20 == 0}))
	}
	for offset := -reach; offset < 0; offset += apart {
		watch(offset)
	}
	r.say("%s: %s at index %d", behind, m.Name, at)
	lift := r.Lay(isolation([]string{m.Name}, others, r.cut()))
	for offset := 0; offset <= reach; offset += apart {
		watch(offset)
	}
	r.rep.fault(behind)
	if err := r.leaveBehind(ctx, m); err != nil {
		return nil, err
	}
	r.dropped(ctx, m)
	healed := r.rec.Clock.Now()
	lift()
	if err := r.serves(ctx, behind, m, healed); err != nil {
		return nil, err
	}
	r.rep.figure("snapshot: until the member serves s", (r.rec.Clock.Now() - healed).Seconds())
	if err := r.toldOf(tail); err != nil {
		return nil, err
	}
	for _, w := range watchers {
		s := w.sequence()
		r.rep.checked("watches over a snapshot", 1)
		if len(s.Gaps) == 0 && len(s.Events) > 0 && s.Events[0].Index < s.From {
			r.rep.violate(check.Violation{Check: "watch", Detail: fmt.Sprintf("%s asked from %d and was told of %s", s.Watcher, s.From, &s.Events[0])})
		}
	}
	return watchers, nil
}

// dropped looks whether the others' logs have gone so far beyond what witan keeps that the member needs a snapshot.
func (r *partitionRun) dropped(ctx context.Context, m *procs.Member) {
	if r.opt.kind != procs.Witan {
		return
	}
	here, err := m.Groups(ctx)
	if err != nil {
		r.rep.inconclusive("%s: %v", behind, err)
		return
	}
	there, err := r.cluster.Members[(m.ID+1)%len(r.cluster.Members)].Groups(ctx)
	if err != nil {
		r.rep.inconclusive("%s: %v", behind, err)
		return
	}
	for g := range here {
		if there[g].RaftIndex < here[g].RaftIndex+2*uint64(r.opt.snapshotCount) {
			r.rep.inconclusive("%s: group %d went from %d to %d only, which may still be in the log", behind, g, here[g].RaftIndex, there[g].RaftIndex)
		}
	}
}

// toldOf looks for the snapshot in the log of etcd, which keeps more than what a flag says.
func (r *partitionRun) toldOf(tail *procs.Tail) error {
	lines, err := tail.Lines()
	if err == nil && r.opt.kind == procs.Etcd && !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "applied snapshot") }) {
		r.rep.inconclusive("%s did not say that it took a snapshot in", tail.Member.Name)
	}
	return err
}

// leaveBehind writes through the others until no log has what the member misses.
func (r *partitionRun) leaveBehind(ctx context.Context, m *procs.Member) error {
	n := missed
	if r.opt.kind == procs.Etcd {
		n = missedByEtcd
	}
	done := make(chan error)
	writers := 0
	for _, other := range r.cluster.Members {
		for g := range r.opt.groups {
			if other == m {
				continue
			}
			writers++
			a := r.client(other, patience)
			go func() {
				defer a.close()
				var err error
				for i := 0; i < n && err == nil; i++ {
					_, err = insist(ctx, a, fmt.Sprintf("%s/behind%d", homeOf(g), i%10), heals)
				}
				done <- err
			}()
		}
	}
	var first error
	for range writers {
		if err := <-done; err != nil && first == nil {
			first = r.notHealed(ctx, err)
		}
	}
	return first
}
