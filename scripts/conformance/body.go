package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// difference is one thing in which two answers differ.
type difference struct {
	class  string // short and stable: status, header:Allow, body:cause, watch:order, …
	detail string
}

// comparer compares the JSON of two answers to one request.
type comparer struct {
	idx     *indexMap
	top     string // top-level directory of the request's key, "" for the root
	ordered bool   // siblings must come in the same order
	reading bool   // the request was a read

	prevIndex [2]string // what the request asked for on each side, as sent
	waitIndex [2]string

	diffs []difference
	used  map[string]bool // deviations that the comparison itself allows for
}

// Tolerances for what depends on when exactly a request was served.
const (
	expirationTolerance = 2 * time.Second
	ttlTolerance        = 1 // seconds
)

func (c *comparer) allow(deviation string) {
	if c.used == nil {
		c.used = make(map[string]bool)
	}
	c.used[deviation] = true
}

func (c *comparer) add(class, format string, args ...any) {
	c.diffs = append(c.diffs, difference{class: class, detail: fmt.Sprintf(format, args...)})
}

// bodies compares two whole bodies: the same bytes, or compact JSON that says
// the same in the same order.
func (c *comparer) bodies(l, r string) {
	if l == r && c.idx.constant && c.idx.offset == 0 {
		return
	}
	lt, lerr := parseTree(strings.TrimSuffix(l, "\n"))
	rt, rerr := parseTree(strings.TrimSuffix(r, "\n"))
	if lerr != nil || rerr != nil {
		if l != r {
			c.add("body:text", "%q against %q", clip(l), clip(r))
		}
		return
	}
	if strings.HasSuffix(l, "\n") != strings.HasSuffix(r, "\n") {
		c.add("body:newline", "only one of the bodies ends in a newline")
	}
	c.values("", lt, rt)
}

// values compares two values found under the same name.
func (c *comparer) values(name string, l, r tree) {
	if l.kind != r.kind {
		c.add("body:type", "%q is %q against %q", name, l.kind, r.kind)
		return
	}
	switch l.kind {
	case '{':
		c.objects(l, r)
	case '[':
		c.lists(name, l.items, r.items)
	default:
		c.scalars(name, l.raw, r.raw)
	}
}

func (c *comparer) objects(l, r tree) {
	lf, rf := withTTL(l.fields), withTTL(r.fields)
	if !slices.EqualFunc(lf, rf, func(a, b field) bool { return a.name == b.name }) {
		c.add("body:fields", "%s against %s", names(lf), names(rf))
		return
	}
	for i := range lf {
		c.values(lf[i].name, lf[i].value, rf[i].value)
	}
}

// withTTL puts in the ttl that is left out when it is 0, so that a node on the
// point of expiring compares within the tolerance.
func withTTL(fields []field) []field {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == "expiration" })
	if i < 0 || i+1 < len(fields) && fields[i+1].name == "ttl" {
		return fields
	}
	return slices.Insert(slices.Clone(fields), i+1, field{name: "ttl", value: tree{kind: 'v', raw: "0"}})
}

func names(fields []field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.name)
	}
	return "{" + strings.Join(all, ",") + "}"
}

func (c *comparer) lists(name string, l, r []tree) {
	if len(l) != len(r) {
		c.add("body:"+name, "%d entries against %d", len(l), len(r))
		return
	}
	if name == "nodes" && !c.ordered {
		l, r = c.byKey(l, r)
	}
	for i := range l {
		c.values(name, l[i], r[i])
	}
}

// byKey sorts siblings: etcd lists them in random order unless asked.
func (c *comparer) byKey(l, r []tree) (left, right []tree) {
	byKey := func(a, b tree) int { return strings.Compare(a.text("key"), b.text("key")) }
	if !slices.IsSortedFunc(l, byKey) && slices.IsSortedFunc(r, byKey) {
		c.allow(devSorted)
	}
	return slices.SortedFunc(slices.Values(l), byKey), slices.SortedFunc(slices.Values(r), byKey)
}

func (c *comparer) scalars(name, l, r string) {
	switch name {
	case "modifiedIndex", "createdIndex":
		c.eventIndex(name, l, r)
	case "index":
		c.index("body:index", l, r)
	case "ttl":
		c.ttls(l, r)
	case "expiration":
		c.expirations(l, r)
	case "key":
		c.paths("body:key", l, r)
	case "cause":
		c.causes(l, r)
	default:
		if l != r {
			c.add("body:"+name, "%s against %s", clip(l), clip(r))
		}
	}
}

// index compares X-Etcd-Index or the index of an error.
func (c *comparer) index(class, l, r string) {
	ln, lerr := strconv.ParseUint(l, 10, 64)
	rn, rerr := strconv.ParseUint(r, 10, 64)
	if lerr != nil || rerr != nil {
		c.add(class, "%s against %s", l, r)
		return
	}
	if c.top == "" && !c.reading && !c.idx.constant {
		return // which group refuses a write to the root is nobody's business
	}
	if err := c.idx.position(ln, rn, c.top); err != nil {
		c.add(class, "%v", err)
	}
	if !c.idx.constant && !c.idx.known(ln, rn) {
		c.allow(devFrontier)
	}
}

func (c *comparer) eventIndex(name, l, r string) {
	ln, lerr := strconv.ParseUint(l, 10, 64)
	rn, rerr := strconv.ParseUint(r, 10, 64)
	if lerr != nil || rerr != nil {
		c.add("body:"+name, "%s against %s", l, r)
		return
	}
	if err := c.idx.event(ln, rn, c.top); err != nil {
		c.add("body:"+name, "%v", err)
	}
}

func (c *comparer) ttls(l, r string) {
	ln, lerr := strconv.ParseInt(l, 10, 64)
	rn, rerr := strconv.ParseInt(r, 10, 64)
	if lerr != nil || rerr != nil {
		c.add("body:ttl", "%s against %s", l, r)
		return
	}
	if ln < 0 && rn == 0 {
		c.allow(devNegativeTTL)
		return
	}
	if ln-rn > ttlTolerance || rn-ln > ttlTolerance {
		c.add("body:ttl", "%d against %d", ln, rn)
	}
}

func (c *comparer) expirations(l, r string) {
	lt, lok := parseExpiration(l)
	rt, rok := parseExpiration(r)
	if !lok || !rok {
		if lok != rok || l != r {
			c.add("body:expiration", "%s against %s: not RFC 3339 in UTC without trailing zeros", l, r)
		}
		return
	}
	if d := lt.Sub(rt); d > expirationTolerance || d < -expirationTolerance {
		c.add("body:expiration", "%s against %s", l, r)
	}
}

// parseExpiration reads a time as etcd writes it: RFC 3339 with up to
// nanoseconds, UTC as Z, trailing zeros trimmed.
func parseExpiration(raw string) (time.Time, bool) {
	s := strings.Trim(raw, `"`)
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && strings.HasSuffix(s, "Z") && t.Format(time.RFC3339Nano) == s
}

// paths compares two keys or causes that are keys: equal but for the names of
// in-order keys, which are indexes.
func (c *comparer) paths(class, l, r string) {
	if l == r && c.idx.constant && c.idx.offset == 0 {
		return
	}
	ls, rs := strings.Split(strings.Trim(l, `"`), "/"), strings.Split(strings.Trim(r, `"`), "/")
	if len(ls) != len(rs) {
		c.add(class, "%s against %s", clip(l), clip(r))
		return
	}
	for i := range ls {
		ln, lok := inOrderName(ls[i])
		rn, rok := inOrderName(rs[i])
		if !lok || !rok {
			if ls[i] != rs[i] {
				c.add(class, "%s against %s", clip(l), clip(r))
			}
			continue
		}
		if err := c.idx.event(ln, rn, c.top); err != nil {
			c.add(class, "%s against %s: %v", l, r, err)
		}
	}
}

func inOrderName(s string) (uint64, bool) {
	if len(s) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// causes compares the cause of an error: a key, a failed comparison, the
// window of a cleared history, or plain text.
func (c *comparer) causes(l, r string) {
	ls, rs := strings.Trim(l, `"`), strings.Trim(r, `"`)
	if strings.HasPrefix(ls, "/") && strings.HasPrefix(rs, "/") {
		c.paths("body:cause", l, r)
		return
	}
	lhead, lgiven, lindex, lok := cutNumbers(ls, " != ")
	rhead, rgiven, rindex, rok := cutNumbers(rs, " != ")
	if lok && rok && lgiven == c.prevIndex[0] && rgiven == c.prevIndex[1] && lhead == rhead {
		c.eventIndex("cause", lindex, rindex)
		return
	}
	lhead, loldest, lwait, lok := cutNumbers(ls, "/")
	rhead, roldest, rwait, rok := cutNumbers(rs, "/")
	if lok && rok && lwait == c.waitIndex[0] && rwait == c.waitIndex[1] && lhead == rhead {
		// With several groups each has a history of its own, whose oldest
		// index says nothing about another's.
		if c.idx.constant {
			c.eventIndex("cause", loldest, roldest)
		}
		return
	}
	if l != r {
		c.add("body:cause", "%s against %s", l, r)
	}
}

// cutNumbers takes s apart that ends in "[A<sep>B]", A and B being numbers.
func cutNumbers(s, sep string) (head, a, b string, ok bool) {
	i := strings.LastIndexByte(s, '[')
	if i < 0 || !strings.HasSuffix(s, "]") {
		return "", "", "", false
	}
	a, b, found := strings.Cut(s[i+1:len(s)-1], sep)
	_, aerr := strconv.ParseUint(a, 10, 64)
	_, berr := strconv.ParseUint(b, 10, 64)
	return s[:i], a, b, found && aerr == nil && berr == nil
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
