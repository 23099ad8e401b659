package links

import "time"

// Pair is a direction: the bytes From sends to To, whichever of them made the connection.
type Pair struct{ From, To string }

// Rule is what befalls the bytes of one direction. The zero Rule lets them pass.
type Rule struct {
	// Drop lets bytes vanish, ends of connections too. A connection that lost some is reset when they would pass again.
	Drop bool
	// Hold keeps bytes back until they may pass, as TCP does that sends again what was lost.
	Hold bool
	// Reset ends connections with RST and refuses new ones.
	Reset bool
	// Deaf keeps the ends of connections to itself: To goes on to hold them for open.
	Deaf bool
	// Delay is how long bytes are under way, give or take Jitter. They stay in order.
	Delay, Jitter time.Duration
	// Rate is how many bytes a second pass, over all connections, 0 as many as come.
	Rate int
}

// Layer is the rules of one harm.
type Layer map[Pair]Rule

// cut says that nothing passes.
func (r Rule) cut() bool { return r.Drop || r.Hold || r.Reset }

// late says that what passes has to wait.
func (r Rule) late() bool { return r.Delay > 0 || r.Rate > 0 }

// and is both rules at once.
func (r Rule) and(o Rule) Rule {
	r.Drop = r.Drop || o.Drop
	r.Hold = r.Hold || o.Hold
	r.Reset = r.Reset || o.Reset
	r.Deaf = r.Deaf || o.Deaf
	r.Delay += o.Delay
	r.Jitter += o.Jitter
	if r.Rate == 0 || (o.Rate > 0 && o.Rate < r.Rate) {
		r.Rate = o.Rate
	}
	return r
}

// state is all rules at one time. It is not changed once it is in use.
type state struct {
	rules   map[Pair]Rule
	in, out map[string]Rule   // of connections whose other end is not known, by member
	names   map[string]string // of members, by the id they send
	changed chan struct{}     // closed when another state holds
}

// newState adds up the layers.
func newState(layers map[*Layer]struct{}, names map[string]string, members []string) *state {
	s := &state{
		rules: map[Pair]Rule{}, in: map[string]Rule{}, out: map[string]Rule{}, names: names, changed: make(chan struct{}),
	}
	for l := range layers {
		for p, r := range *l {
			s.rules[p] = s.rules[p].and(r)
		}
	}
	for _, m := range members {
		s.in[m] = s.fromAll(members, func(other string) Pair { return Pair{other, m} })
		s.out[m] = s.fromAll(members, func(other string) Pair { return Pair{m, other} })
	}
	return s
}

// fromAll is the rule for an end that is not known: what cuts a member off from everybody cuts it off from this one, and
// everything else spares it.
func (s *state) fromAll(members []string, pair func(other string) Pair) Rule {
	var all Rule
	for _, other := range members {
		p := pair(other)
		if p.From == p.To {
			continue
		}
		r := s.rules[p]
		if !r.cut() {
			return Rule{}
		}
		all = all.and(Rule{Drop: r.Drop, Hold: r.Hold, Reset: r.Reset})
	}
	return all
}

// rule is what holds for the bytes between a member and who connected to it with the given id.
func (s *state) rule(id, member string, up bool) (Pair, Rule) {
	other := s.names[id]
	p := Pair{other, member}
	if !up {
		p = Pair{member, other}
	}
	switch {
	case other != "":
		return p, s.rules[p]
	case up:
		return p, s.in[member]
	}
	return p, s.out[member]
}
