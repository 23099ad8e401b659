package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/links"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// network is what befalls the links between members.
type network struct {
	*links.Net
	known int // members whose ids have been told
}

// networkHarms are cuts of all shapes, bad links, and connections that end without a word.
func networkHarms() family {
	n := &network{}
	const ms = time.Millisecond
	return family{
		name: "network",
		possible: func(o *options) error {
			if o.members < 3 {
				return fmt.Errorf("a cluster of %d has no majority to be cut off from", o.members)
			}
			return nil
		},
		prepare: func(s *storm, c *procs.Config) error {
			n.Net = links.New()
			c.Links = n.Net
			s.cleanups = append(s.cleanups, n.Close)
			return nil
		},
		harms: []harm{
			{kind: "isolate", weight: 6, low: 200 * ms, high: 5 * time.Second, strike: n.laid(isolated)},
			{kind: "oneway", weight: 5, low: 200 * ms, high: 5 * time.Second, strike: n.laid(oneWay)},
			{kind: "partial", weight: 4, low: 200 * ms, high: 5 * time.Second, strike: n.laid(partial)},
			{kind: "split", weight: 4, low: 200 * ms, high: 5 * time.Second, strike: n.laid(halves)},
			{kind: "flap", weight: 3, low: 2 * time.Second, high: 6 * time.Second, strike: n.flapping(isolated, 200*ms, 500*ms)},
			{kind: "slow", weight: 4, low: time.Second, high: 5 * time.Second, strike: n.laid(slow)},
			{kind: "thin", weight: 2, low: time.Second, high: 4 * time.Second, strike: n.laid(thin)},
			{kind: "reset", weight: 3, low: time.Second, high: 3 * time.Second, strike: n.flapping(resetting, 20*ms, 200*ms)},
			{kind: "half-open", weight: 3, strike: n.orphaned},
			{kind: "vanish", weight: 3, low: 500 * ms, high: 4 * time.Second, strike: n.vanished},
		},
	}
}

// plan is a harm to links, chosen at random: its rules, and who it is for the log.
type plan func(context.Context, *storm) (links.Layer, string)

// laid is a strike that lays a harm on until it is cured.
func (n *network) laid(p plan) func(context.Context, *storm) (func(context.Context) error, error) {
	return func(ctx context.Context, s *storm) (func(context.Context) error, error) {
		if err := n.learn(ctx, s.cluster); err != nil {
			return nil, errSpared
		}
		layer, whom := p(ctx, s)
		before := n.bitten(layer)
		lift := n.Lay(layer)
		if !n.bites(ctx, layer, before) {
			lift()
			return nil, errSpared
		}
		s.say("network: %s", whom)
		return func(context.Context) error { lift(); return nil }, nil
	}
}

// flapping is a strike that lays a harm on and takes it off all the time, each for a time between low and high.
func (n *network) flapping(p plan, low, high time.Duration) func(context.Context, *storm) (func(context.Context) error, error) {
	return func(ctx context.Context, s *storm) (func(context.Context) error, error) {
		if err := n.learn(ctx, s.cluster); err != nil {
			return nil, errSpared
		}
		layer, whom := p(ctx, s)
		before := n.bitten(layer)
		stop := n.flap(layer, low, high, s.rng.Uint64())
		if !n.bites(ctx, layer, before) {
			stop()
			return nil, errSpared
		}
		s.say("network: on and off, %s", whom)
		return func(context.Context) error { stop(); return nil }, nil
	}
}

// flap lays a harm on and off until it is stopped.
func (n *network) flap(layer links.Layer, low, high time.Duration, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // must be repeatable
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			lift := n.Lay(layer)
			_ = pause(ctx, between(rng, low, high))
			lift()
			_ = pause(ctx, between(rng, low, high))
		}
	})
	return func() { cancel(); done.Wait() }
}

// orphaned lets a member's connections, or those of two members, lose their other ends. Nothing cures them: members must notice.
func (n *network) orphaned(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if err := n.learn(ctx, s.cluster); err != nil {
		return nil, errSpared
	}
	m := s.somebody(ctx)
	others := without(names(s.cluster), m)
	if s.rng.IntN(2) == 0 {
		others = others[:1]
	}
	layer := isolation([]string{m}, others, links.Rule{})
	before := n.bitten(layer)
	found := 0
	for _, other := range others {
		found += n.Orphan(m, other)
	}
	if found == 0 || !n.bites(ctx, layer, before) {
		return nil, errSpared
	}
	s.say("network: %d connections between %s and %v lead nowhere", found, m, others)
	return nil, nil
}

// vanished kills a member and keeps that from the others: its connections do not end, and nobody refuses new ones.
func (n *network) vanished(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if err := n.learn(ctx, s.cluster); err != nil {
		return nil, errSpared
	}
	m, err := s.victim("vanish")
	if err != nil {
		return nil, err
	}
	layer := isolation([]string{m.Name}, without(names(s.cluster), m.Name), links.Rule{Drop: true})
	before := n.bitten(layer)
	lift := n.Lay(layer)
	if !n.bites(ctx, layer, before) {
		lift()
		s.release(m)
		return nil, errSpared
	}
	s.say("network: %s vanishes", m.Name)
	if err := m.Kill(); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		lift()
		s.release(m)
		return m.Start()
	}, nil
}

// learn tells the links the ids of members they do not know yet.
func (n *network) learn(ctx context.Context, c *procs.Cluster) error {
	if n.known == len(c.Everyone()) {
		return nil
	}
	ids, err := c.IDs(ctx)
	if err != nil {
		return err
	}
	n.Know(ids)
	if len(ids) == len(c.Members) {
		n.known = len(c.Everyone())
	}
	return nil
}

func (n *network) bitten(l links.Layer) int64 {
	var sum int64
	for p := range l {
		sum += n.Counts(p).Bitten()
	}
	return sum
}

// bites waits a little until a harm has taken effect.
func (n *network) bites(ctx context.Context, l links.Layer, before int64) bool {
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if n.bitten(l) > before {
			return true
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return false
		}
	}
	return false
}

// somebody is a member drawn at random, every other time the leader.
func (s *storm) somebody(ctx context.Context) string {
	if s.rng.IntN(2) == 0 {
		soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if m, err := s.cluster.Leader(soon, s.opt.kind); err == nil {
			return m.Name
		}
	}
	all := s.cluster.Members
	return all[s.rng.IntN(len(all))].Name
}

func names(c *procs.Cluster) []string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.Name)
	}
	return out
}

func without(all []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(m string) bool { return slices.Contains(some, m) })
}

// The shapes of cuts, pure functions of who is concerned.

// towards harms what some send to others.
func towards(some, others []string, r links.Rule) links.Layer {
	l := links.Layer{}
	for _, a := range some {
		for _, b := range others {
			l[links.Pair{From: a, To: b}] = r
		}
	}
	return l
}

// isolation harms what some and others send each other.
func isolation(some, others []string, r links.Rule) links.Layer {
	l := towards(some, others, r)
	for p := range towards(others, some, r) {
		l[p] = r
	}
	return l
}

// ring leaves each member its two neighbours: of five, each sees a majority, and no two the same.
func ring(all []string, r links.Rule) links.Layer {
	l := links.Layer{}
	for i, a := range all {
		for j, b := range all {
			if d := (j - i + len(all)) % len(all); d > 1 && d < len(all)-1 {
				l[links.Pair{From: a, To: b}] = r
			}
		}
	}
	return l
}

// The plans, which draw who is concerned.

func isolated(ctx context.Context, s *storm) (links.Layer, string) {
	m := s.somebody(ctx)
	r, how := cut(s.rng)
	return isolation([]string{m}, without(names(s.cluster), m), r), fmt.Sprintf("%s is cut off, bytes are %s", m, how)
}

func oneWay(ctx context.Context, s *storm) (links.Layer, string) {
	m := s.somebody(ctx)
	others := s.some(without(names(s.cluster), m))
	r, how := cut(s.rng)
	if s.rng.IntN(2) == 0 {
		return towards([]string{m}, others, r), fmt.Sprintf("what %s sends %v is %s", m, others, how)
	}
	return towards(others, []string{m}, r), fmt.Sprintf("what %v send %s is %s", others, m, how)
}

func partial(ctx context.Context, s *storm) (links.Layer, string) {
	r, how := cut(s.rng)
	all := names(s.cluster)
	if len(all) >= 5 && s.rng.IntN(2) == 0 {
		s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return ring(all, r), fmt.Sprintf("a ring of %s, else bytes are %s", strings.Join(all, "-"), how)
	}
	a := s.somebody(ctx)
	others := without(all, a)
	b := others[s.rng.IntN(len(others))]
	return isolation([]string{a}, []string{b}, r), fmt.Sprintf("between %s and %s bytes are %s", a, b, how)
}

func halves(ctx context.Context, s *storm) (links.Layer, string) {
	all := names(s.cluster)
	minority := []string{s.somebody(ctx)}
	for others := without(all, minority...); 2*(len(minority)+1) < len(all); others = without(all, minority...) {
		minority = append(minority, others[s.rng.IntN(len(others))])
	}
	r, how := cut(s.rng)
	return isolation(minority, without(all, minority...), r), fmt.Sprintf("%v are a minority, bytes are %s", minority, how)
}

func slow(ctx context.Context, s *storm) (links.Layer, string) {
	m := s.somebody(ctx)
	others := s.some(without(names(s.cluster), m))
	d := between(s.rng, 50*time.Millisecond, time.Second)
	r := links.Rule{Delay: d, Jitter: between(s.rng, 0, d)}
	about := fmt.Sprintf("%v ± %v", r.Delay.Round(time.Millisecond), r.Jitter.Round(time.Millisecond))
	if s.rng.IntN(2) == 0 {
		return towards([]string{m}, others, r), fmt.Sprintf("%s from %s to %v", about, m, others)
	}
	return isolation([]string{m}, others, r), fmt.Sprintf("%s between %s and %v", about, m, others)
}

// narrow is 1 Mbit/s.
const narrow = 125_000

func thin(ctx context.Context, s *storm) (links.Layer, string) {
	m := s.somebody(ctx)
	others := without(names(s.cluster), m)
	return isolation([]string{m}, others, links.Rule{Rate: narrow}), fmt.Sprintf("1 Mbit/s between %s and the others", m)
}

func resetting(ctx context.Context, s *storm) (links.Layer, string) {
	m := s.somebody(ctx)
	others := s.some(without(names(s.cluster), m))
	return isolation([]string{m}, others, links.Rule{Reset: true}), fmt.Sprintf("connections between %s and %v are reset", m, others)
}

// cut draws how bytes are kept from passing.
func cut(rng *rand.Rand) (links.Rule, string) {
	switch rng.IntN(5) {
	case 0, 1:
		return links.Rule{Drop: true}, "lost"
	case 2, 3:
		return links.Rule{Hold: true}, "held back"
	}
	return links.Rule{Reset: true}, "refused"
}

// some are one or all.
func (s *storm) some(all []string) []string {
	if s.rng.IntN(2) == 0 {
		return all
	}
	i := s.rng.IntN(len(all))
	return all[i : i+1]
}
