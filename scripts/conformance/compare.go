package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// exchange is one request, as each side got it, with both answers.
type exchange struct {
	step    step
	reqs    [2]request
	answers [2]answer
}

// comparerFor returns a comparer that knows what the exchange's request asked.
func (p *pair) comparerFor(reqs [2]request) *comparer {
	c := &comparer{
		idx:     p.idx,
		top:     topOf(reqs[left]),
		ordered: isTrue(reqs[left].parameter("sorted")),
		reading: !isWrite(reqs[left].method),
	}
	for i, r := range reqs {
		c.prevIndex[i], c.waitIndex[i] = r.parameter("prevIndex"), r.parameter("waitIndex")
	}
	return c
}

// isTrue reports whether a boolean parameter has one of the spellings of true.
func isTrue(value string) bool {
	on, err := strconv.ParseBool(value)
	return err == nil && on
}

// compare returns all in which the two answers differ. withBody is false for
// watches, whose bodies are compared event by event.
func (p *pair) compare(x *exchange, withBody bool) *comparer {
	c := p.comparerFor(x.reqs)
	l, r := x.answers[left], x.answers[right]
	if l.err != nil || r.err != nil {
		if l.err == nil || r.err == nil {
			c.add("no-answer", "%s against %s", outcome(l), outcome(r))
		}
		return c
	}
	if l.status != r.status {
		c.add("status:"+strconv.Itoa(l.status)+"/"+strconv.Itoa(r.status), "%d against %d", l.status, r.status)
		return c
	}
	// The body first: its events are older than the position in the headers.
	if withBody {
		p.wholeBodies(c, x)
	}
	p.headers(c, x)
	return c
}

func outcome(a answer) string {
	if a.err != nil {
		return "no answer (" + a.err.Error() + ")"
	}
	return "status " + strconv.Itoa(a.status)
}

// headers compares all headers but Date and Content-Length: those that carry an index through the
// map, those whose values are each server's own by form only, and the rest
// literally.
func (p *pair) headers(c *comparer, x *exchange) {
	l, r := x.answers[left], x.answers[right]
	for _, name := range headerNames(l, r) {
		lv, lok := l.header[name]
		rv, rok := r.header[name]
		if lok != rok {
			c.add("header:"+name, "%q against %q", lv, rv)
			continue
		}
		switch name {
		case "X-Etcd-Index":
			if eventOnly(x) {
				c.eventIndex("X-Etcd-Index", lv[0], rv[0])
				continue
			}
			c.index("header:X-Etcd-Index", lv[0], rv[0])
		case "X-Raft-Index", "X-Raft-Term":
			if !isNumber(rv[0]) {
				c.add("header:"+name, "%q is not a number", rv[0])
			}
		case "X-Etcd-Cluster-Id":
			p.clusterIDs(c, lv[0], rv[0])
		default:
			ls, rs := p.sides[left].memory.anonymous(strings.Join(lv, "\n")), p.sides[right].memory.anonymous(strings.Join(rv, "\n"))
			if ls != rs {
				c.add("header:"+name, "%q against %q", ls, rs)
			}
		}
	}
	if l.chunked != r.chunked && !straddle(l, r) {
		c.add("header:Transfer-Encoding", "chunked %t against %t, length %d against %d", l.chunked, r.chunked, l.length, r.length)
	}
	if l.closes != r.closes {
		c.add("connection", "closed afterwards %t against %t", l.closes, r.closes)
	}
}

// eventOnly reports whether the answer to a write tells the index of its event
// in X-Etcd-Index alone, because noValueOnSuccess left the event out.
func eventOnly(x *exchange) bool {
	return isWrite(x.reqs[left].method) && x.answers[left].status < 300 && !strings.Contains(string(x.answers[left].body), `"node"`)
}

// straddle reports whether one body is just short enough for net/http to give
// its length and the other, by the digits of an expiration, just too long.
func straddle(l, r answer) bool {
	const buffered = 2048
	return (len(l.body) <= buffered) != (len(r.body) <= buffered)
}

// headerNames lists the headers that either answer has. Which of them say how
// long the body is, is compared apart.
func headerNames(l, r answer) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(l.header)), maps.Keys(r.header))
	all = slices.DeleteFunc(all, func(name string) bool { return name == "Date" || name == "Content-Length" })
	slices.Sort(all)
	return slices.Compact(all)
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// clusterIDs checks the form of the cluster id, and that it never changes.
func (p *pair) clusterIDs(c *comparer, ids ...string) {
	for i, id := range ids {
		n, err := strconv.ParseUint(id, 16, 64)
		if err != nil || strconv.FormatUint(n, 16) != id {
			c.add("header:X-Etcd-Cluster-Id", "%q is not lower-case hex", id)
		}
		s := p.sides[i]
		if s.cluster != "" && s.cluster != id {
			c.add("header:X-Etcd-Cluster-Id", "%s was %q before", id, s.cluster)
		}
		s.cluster = id
	}
}

// wholeBodies compares the bodies as far as their endpoint lets them be equal:
// keys fully, statistics by their fields, metrics not at all.
func (p *pair) wholeBodies(c *comparer, x *exchange) {
	l, r := string(x.answers[left].body), string(x.answers[right].body)
	if x.reqs[left].method == "HEAD" {
		p.headLengths(c, x)
		return
	}
	path := x.reqs[left].path()
	switch {
	case strings.HasPrefix(path, keysPrefix):
		c.bodies(l, r)
	case strings.HasPrefix(path, "/metrics"), strings.HasPrefix(path, "/debug/"):
	case strings.HasPrefix(path, "/v2/stats/"):
		c.shapes(l, r)
	case path == machinesPath:
		p.machines(c, l, r)
	case strings.HasPrefix(path, membersPrefix):
		p.members(c, x.reqs[left].method, l, r)
	default:
		c.bodies(p.sides[left].memory.anonymous(l), p.sides[right].memory.anonymous(r))
	}
}

// headLengths checks that a HEAD says the length that GET sends, give or take
// the digits of the ttls in it, and that both sides say one or both do not.
func (p *pair) headLengths(c *comparer, x *exchange) {
	l, r := x.answers[left], x.answers[right]
	if (l.length > 0) != (r.length > 0) {
		c.add("header:Content-Length", "%d against %d on HEAD", l.length, r.length)
	}
	if l.status >= 400 || x.reqs[left].parameter("wait") != "" {
		return
	}
	for i, s := range p.sides {
		if x.answers[i].length <= 0 {
			continue
		}
		get := x.reqs[i]
		get.method = "GET"
		a := s.do(get)
		slack := int64(strings.Count(string(a.body), `"ttl"`))
		if d := int64(len(a.body)) - x.answers[i].length; a.err != nil || d > slack || d < -slack {
			c.add("head:Content-Length", "%s: HEAD says %d, GET sends %d", s.name, x.answers[i].length, len(a.body))
		}
	}
}

// shapes compares two JSON texts by field names and types only.
func (c *comparer) shapes(l, r string) {
	lt, lerr := parseTree(l)
	rt, rerr := parseTree(r)
	if lerr != nil || rerr != nil {
		if l != r {
			c.add("body:text", "%q against %q", clip(l), clip(r))
		}
		return
	}
	c.shape(lt, rt)
}

func (c *comparer) shape(l, r tree) {
	if l.kind != r.kind || names(l.fields) != names(r.fields) {
		c.add("body:fields", "%s against %s", names(l.fields), names(r.fields))
		return
	}
	for i := range l.fields {
		c.shape(l.fields[i].value, r.fields[i].value)
	}
}
