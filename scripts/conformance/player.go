package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// player runs the steps of one source, a script or a seed, on one pair of
// servers and reports what differs. After a difference it wipes both servers,
// so that one difference is not reported again and again in what follows.
type player struct {
	pair       *pair
	source     string
	deviations []deviation
	report     *report
	trace      io.Writer // if not nil, gets each request with etcd's answer

	watchers map[string]*watcher
	played   []step // since the servers were last empty
	position int    // of the current step, from 1
	findings int
}

// maxFindings is how many findings end a source.
const maxFindings = 100

var (
	errLost    = errors.New("a server does not answer any more")
	errTooMany = errors.New("too many differences")
)

// play runs one step. An error means that there is no going on.
func (pl *player) play(s step) error {
	pl.position++
	pl.played = append(pl.played, s)
	switch s.verb {
	case "":
		return pl.request(s)
	case "watch":
		return pl.watch(s)
	case "events":
		return pl.events(s)
	case "close":
		for _, name := range s.names {
			pl.closeWatch(name)
		}
		return nil
	case "expire":
		return pl.expire(s)
	case "fill":
		return pl.fill(s)
	case "wipe":
		return pl.wipe()
	}
	return fmt.Errorf("%w: %s", errSyntax, s)
}

func (pl *player) request(s step) error {
	x := &exchange{step: s, reqs: pl.pair.expand(s.req)}
	if strings.HasPrefix(s.req.path(), membersPrefix) && isWrite(s.req.method) {
		x.answers = pl.pair.changeMembers(x.reqs)
	} else {
		x.answers = pl.pair.both(x.reqs)
	}
	pl.report.request()
	return pl.judge(x, pl.pair.compare(x, true))
}

// judge reports what is left of the differences when the deviations are taken
// out, and learns from the answers if nothing is.
func (pl *player) judge(x *exchange, c *comparer) error {
	if pl.trace != nil {
		fmt.Fprintf(pl.trace, "%s %s\n%s", label(pl.source, pl.position), x.reqs[left], x.answers[left])
	}
	c, skip := pl.amend(x, c)
	if skip {
		return nil
	}
	if diffs := pl.excuse(x, c); len(diffs) > 0 {
		if err := pl.found(finding{differences: diffs, exchange: x}); err != nil {
			return err
		}
		if !harmless(diffs) {
			return pl.wipe()
		}
	}
	if err := x.answers[left].err; errors.Is(err, errNotSent) {
		return fmt.Errorf("%w: %s: %w", errLost, x.step, err)
	} else if err != nil {
		return nil // both sides closed the connection without a word
	}
	return pl.learn(x)
}

// found reports a finding. A source with too many of them is given up: either
// all are the same, or nothing can be learned from it any more.
func (pl *player) found(f finding) error {
	f.source, f.position, f.played = pl.source, pl.position, slices.Clone(pl.played)
	pl.report.add(f)
	pl.findings++
	if pl.findings == maxFindings {
		return errTooMany
	}
	return nil
}

// harmless reports whether the two servers still hold the same tree, and number
// it the same way, although their answers differed.
func harmless(diffs []difference) bool {
	return !slices.ContainsFunc(diffs, func(d difference) bool {
		return !strings.HasPrefix(d.class, "header:") || d.class == "header:X-Etcd-Index"
	})
}

// amend lets the deviations put the two servers back on one road.
func (pl *player) amend(x *exchange, c *comparer) (_ *comparer, skip bool) {
	for rest, _ := pl.unexplained(x, c); len(rest) > 0; rest, _ = pl.unexplained(x, c) {
		a, ok := pl.amendment(x)
		if !ok {
			break
		}
		if a.skip {
			pl.pair.settleMembers()
			for i, reqs := range a.heal {
				for _, r := range reqs {
					pl.pair.sides[i].do(r)
				}
			}
			return c, true
		}
		x.reqs[a.side] = a.req
		x.answers[a.side] = pl.pair.sides[a.side].do(a.req)
		c = pl.pair.compare(x, true)
	}
	return c, false
}

// amendment asks the deviations what to send instead. Each amendment removes
// what called for it, so asking again comes to an end.
func (pl *player) amendment(x *exchange) (amendment, bool) {
	if x.answers[left].err != nil || x.answers[right].err != nil {
		return amendment{}, false
	}
	for _, d := range pl.deviations {
		if d.amend == nil {
			continue
		}
		if a, ok := d.amend(x); ok {
			pl.report.used(d.name)
			return a, true
		}
	}
	return amendment{}, false
}

// excuse returns the differences that no deviation explains, and counts the
// deviations that explain the others.
func (pl *player) excuse(x *exchange, c *comparer) []difference {
	rest, used := pl.unexplained(x, c)
	for name := range c.used {
		pl.report.used(name)
	}
	for name := range used {
		pl.report.used(name)
	}
	return rest
}

func (pl *player) unexplained(x *exchange, c *comparer) (rest []difference, used map[string]bool) {
	used = make(map[string]bool)
	for _, diff := range c.diffs {
		i := slices.IndexFunc(pl.deviations, func(d deviation) bool { return d.explains != nil && d.explains(x, diff) })
		if i < 0 {
			rest = append(rest, diff)
			continue
		}
		used[pl.deviations[i].name] = true
	}
	return rest, used
}

// learn remembers the event that a write, or a wait for an expiry, was answered
// with.
func (pl *player) learn(x *exchange) error {
	r := x.reqs[left]
	if strings.HasPrefix(r.path(), membersPrefix) {
		for i, s := range pl.pair.sides {
			s.memory.learnMember(r.method, x.answers[i])
		}
		return nil
	}
	if x.answers[left].status >= 300 || !strings.HasPrefix(r.path(), keysPrefix) ||
		!isWrite(r.method) && r.parameter("wait") == "" {
		return nil
	}
	answers := x.answers
	if isTrue(r.parameter("noValueOnSuccess")) && isWrite(r.method) && r.method != http.MethodDelete {
		recalled, err := pl.recall(x)
		if recalled == nil || err != nil {
			return err
		}
		answers = recalled.answers
	}
	for i, s := range pl.pair.sides {
		t, err := parseTree(strings.TrimSuffix(string(answers[i].body), "\n"))
		if err != nil || t.text("action") == "get" {
			return nil
		}
		s.memory.learn(r.method, t)
		if i == left {
			silent := isTrue(r.parameter("refresh")) && t.text("action") != "create"
			pl.pair.journal.add(t, silent)
		}
	}
	return nil
}

// recall fetches the event of a write whose answer left it out, and compares
// it. A silent write cannot be recalled.
func (pl *player) recall(x *exchange) (*exchange, error) {
	if isTrue(x.reqs[left].parameter("refresh")) {
		return nil, nil
	}
	y := &exchange{step: x.step}
	for i := range pl.pair.sides {
		index := x.answers[i].header.Get("X-Etcd-Index")
		y.reqs[i] = request{method: http.MethodGet, target: x.reqs[i].path() + "?wait=true&recursive=true&waitIndex=" + index}
	}
	y.answers = pl.pair.both(y.reqs)
	if diffs := pl.excuse(y, pl.pair.compare(y, true)); len(diffs) > 0 {
		return nil, errors.Join(pl.found(finding{differences: diffs, exchange: y}), pl.wipe())
	}
	return y, nil
}

// expire waits until a key has expired on both servers and compares the events.
// The headers say how long that took, and are not compared.
func (pl *player) expire(s step) error {
	key, _ := keyOf(s.req)
	s.req.target += "?wait=true&waitIndex=${next " + key + "}"
	x := &exchange{step: s, reqs: pl.pair.expand(s.req)}
	x.answers = pl.pair.both(x.reqs)
	for i := range x.answers {
		x.answers[i].header.Del("X-Etcd-Index")
	}
	pl.report.request()
	return pl.judge(x, pl.pair.compare(x, true))
}

func (pl *player) watch(s step) error {
	w, x := pl.pair.openWatch(s, pl.pair.expand(s.req))
	pl.report.watch()
	if w == nil {
		if a, ok := pl.amendment(x); ok && !a.skip {
			x.reqs[a.side] = a.req
			w, x = pl.pair.openWatch(s, x.reqs)
		}
	}
	if w == nil {
		return pl.judge(x, pl.pair.compare(x, true))
	}
	pl.watchers[s.names[0]] = w
	return pl.judge(x, pl.pair.compare(x, false))
}

func (pl *player) events(s step) error {
	var watchers []*watcher
	for _, name := range s.names {
		if w, ok := pl.watchers[name]; ok {
			watchers = append(watchers, w)
		}
	}
	pl.pair.settle(watchers)
	failed := false
	for _, w := range watchers {
		if pl.trace != nil {
			events, ended, _ := w.feeds[left].seen()
			fmt.Fprintf(pl.trace, "%s events %s ended %t\n%s", label(pl.source, pl.position), w.step, ended, indent(strings.Join(events, "")))
		}
		c := pl.pair.compareWatch(w)
		diffs := pl.excuse(&exchange{reqs: w.reqs}, c)
		if len(diffs) == 0 || pl.excuseWatch(w) {
			continue
		}
		failed = true
		if err := pl.found(finding{differences: diffs, watcher: w}); err != nil {
			return err
		}
	}
	if failed {
		return pl.wipe()
	}
	return nil
}

// excuseWatch reports whether witan sent what the journal says while etcd has
// one of its known defects.
func (pl *player) excuseWatch(w *watcher) bool {
	l, _, _ := w.feeds[left].seen()
	r, ended, _ := w.feeds[right].seen()
	var expected []string
	for _, event := range pl.pair.journal.seenBy(w.spec) {
		expected = append(expected, event.String()+"\n")
	}
	eo := outlines(expected)
	if !slices.Equal(eo, outlines(r)) || ended != (!w.spec.stream && len(r) > 0) {
		return false
	}
	c := pl.pair.comparerFor(w.reqs)
	if pl.pair.compareEvents(c, expected, r); len(c.diffs) > 0 {
		return false
	}
	lo := outlines(l)
	i := slices.IndexFunc(pl.deviations, func(d deviation) bool { return d.watch != nil && d.watch(w.spec, lo, eo) })
	if i < 0 {
		return false
	}
	pl.report.used(pl.deviations[i].name)
	return true
}

func (pl *player) closeWatch(name string) {
	if w, ok := pl.watchers[name]; ok {
		w.close()
		delete(pl.watchers, name)
	}
}

// fill makes many writes to one key, comparing only the last one's answer.
func (pl *player) fill(s step) error {
	for range s.count - 1 {
		x := &exchange{step: s, reqs: pl.pair.expand(s.req)}
		x.answers = pl.pair.both(x.reqs)
		for i, a := range x.answers {
			if a.err != nil || a.status >= 300 {
				return fmt.Errorf("%w: fill: %s: %s", errLost, pl.pair.sides[i].name, outcome(a))
			}
		}
		pl.report.request()
		if err := pl.learn(x); err != nil {
			return err
		}
	}
	return pl.request(step{req: s.req})
}

// wipe empties both servers and forgets all about them.
func (pl *player) wipe() error {
	for name := range pl.watchers {
		pl.closeWatch(name)
	}
	pl.played = nil
	return pl.pair.wipe()
}

// label names where a step stands.
func label(source string, position int) string {
	return source + " step " + strconv.Itoa(position)
}
