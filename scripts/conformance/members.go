package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	membersPrefix = "/v2/members"
	machinesPath  = "/v2/machines"
)

// learnMember remembers the id of a member that was added. It is made of the
// time, so each server makes another.
func (m *memory) learnMember(method string, a answer) {
	if method != "POST" || a.status != 201 {
		return
	}
	if t, err := parseTree(strings.TrimSuffix(string(a.body), "\n")); err == nil {
		m.added = append(m.added, t.text("id"))
	}
}

// nthMember returns one of the members that the cluster began with, counted from 1.
func (m *memory) nthMember(n string) identity {
	if n == "" {
		return m.members[0]
	}
	if i := atoi(n); i >= 1 && i <= len(m.members) {
		return m.members[i-1]
	}
	return identity{name: "none", member: "none", client: "none", peer: "none"}
}

// nthAdded returns the id of the n-th member from the end of those added.
func (m *memory) nthAdded(n int) string {
	if n >= len(m.added) {
		return "none"
	}
	return m.added[len(m.added)-1-n]
}

// memberPause is how long etcd is left alone before the next membership change.
// Its leader drops a change that comes before it is done with the last one,
// which is a moment after that was answered, and the client waits for 7 s.
const memberPause = 50 * time.Millisecond

// settleMembers makes sure that no change is lost on a cluster.
func (p *pair) settleMembers() {
	if len(p.sides[left].others) > 0 {
		time.Sleep(memberPause)
	}
}

// lostChange is how long etcd takes to answer a change that its leader has
// dropped, a second less: for that, even one that comes long after the last is
// dropped on a machine that is slow for a moment.
const lostChange = 6 * time.Second

// changeMembers sends a membership change to both servers, and to etcd once
// more if it was lost there.
func (p *pair) changeMembers(reqs [2]request) [2]answer {
	p.settleMembers()
	begun := time.Now()
	answers := p.both(reqs)
	if answers[left].status == 500 && time.Since(begun) > lostChange {
		answers[left] = p.sides[left].do(reqs[left])
	}
	return answers
}

// members compares answers about members. Ids stand for the members they were
// given to; a list must be in the order of its ids, which differ.
func (p *pair) members(c *comparer, method, l, r string) {
	bodies := [2]string{l, r}
	for i, s := range p.sides {
		if method == "POST" {
			// The id in it is not known before; whether it is one is asked by shape.
			bodies[i] = maskNewID(c, bodies[i])
		}
		bodies[i] = s.memory.anonymous(inOneOrder(c, bodies[i], s.memory))
	}
	c.bodies(bodies[left], bodies[right])
}

// maskNewID checks and replaces the id of a member that was just added.
func maskNewID(c *comparer, body string) string {
	t, err := parseTree(strings.TrimSuffix(body, "\n"))
	id := t.text("id")
	if err != nil || id == "" {
		return body
	}
	if n, err := strconv.ParseUint(id, 16, 64); err != nil || strconv.FormatUint(n, 16) != id {
		c.add("body:id", "%q is not lower-case hex", id)
	}
	return strings.Replace(body, id, "<new>", 1)
}

// inOneOrder checks that a list of members is in the order of the ids, and
// puts it in that of the peer URLs.
func inOneOrder(c *comparer, body string, m *memory) string {
	t, err := parseTree(strings.TrimSuffix(body, "\n"))
	list, ok := t.get("members")
	if err != nil || !ok {
		return body
	}
	if !slices.IsSortedFunc(list.items, func(a, b tree) int { return compareIDs(a.text("id"), b.text("id")) }) {
		c.add("body:members", "not in the order of ids: %s", clip(body))
	}
	slices.SortFunc(list.items, func(a, b tree) int {
		return strings.Compare(m.anonymous(urls(a)), m.anonymous(urls(b)))
	})
	return t.String() + body[len(strings.TrimSuffix(body, "\n")):]
}

func compareIDs(a, b string) int {
	if d := len(a) - len(b); d != 0 {
		return d // without leading zeros
	}
	return strings.Compare(a, b)
}

func urls(member tree) string {
	u, _ := member.get("peerURLs")
	return u.String()
}

// machines compares lists of client URLs, which are in an order of their own.
func (p *pair) machines(c *comparer, l, r string) {
	lists := [2][]string{strings.Split(l, ", "), strings.Split(r, ", ")}
	for i, s := range p.sides {
		if !slices.IsSorted(lists[i]) {
			c.add("body:text", "%s: not sorted: %v", s.name, lists[i])
		}
		for j, u := range lists[i] {
			lists[i][j] = s.memory.anonymous(u)
		}
		slices.Sort(lists[i])
	}
	if !slices.Equal(lists[left], lists[right]) {
		c.add("body:text", "%q against %q", lists[left], lists[right])
	}
}

// memberDeviations are about what is told of membership changes, and which are
// refused.
func memberDeviations() []deviation {
	return []deviation{{
		name: "reason-told", where: "contract §4.1",
		why:      "a refused membership change tells the reason; etcd says Internal Server Error",
		explains: tellsReason,
	}, {
		name: "body-types", where: "contract §4.1",
		why: "a body of the wrong JSON type is refused with what it should look like; etcd's text is about Go",
		explains: func(x *exchange, d difference) bool {
			return ofMembers(x) && d.class == "body:message" && strings.HasPrefix(messageOf(x.answers[left]), "json: cannot unmarshal ") &&
				strings.HasPrefix(messageOf(x.answers[right]), "unexpected JSON ")
		},
	}, {
		name: "peer-urls-once", where: "contract §4.1",
		why: "a peer URL given twice is kept once",
		explains: func(x *exchange, d difference) bool {
			return ofMembers(x) && x.reqs[left].method == "POST" && d.class == "body:peerURLs" &&
				slices.Equal(slices.Compact(peerURLs(x.answers[left])), peerURLs(x.answers[right]))
		},
	}, {
		name: "peer-urls-of-use", where: "contract §4.1",
		why:   "peer URLs where no member could be reached (https and unix, for now), and bodies over 64 KiB, are refused; etcd takes them",
		amend: amendMember,
	}}
}

func ofMembers(x *exchange) bool { return strings.HasPrefix(x.reqs[left].path(), membersPrefix) }

// tellsReason recognises the reasons we give.
func tellsReason(x *exchange, d difference) bool {
	l, r := x.answers[left], x.answers[right]
	if !ofMembers(x) || d.class != "body:message" || r.status != 500 || messageOf(l) != "Internal Server Error" {
		return false
	}
	return strings.HasPrefix(messageOf(r), "etcdserver: re-configuration failed: ") ||
		strings.HasPrefix(messageOf(r), "Member permanently removed: ")
}

// amendMember recognises our refusal of a member that etcd has added, and
// removes that again.
func amendMember(x *exchange) (amendment, bool) {
	l, r := x.answers[left], x.answers[right]
	if !ofMembers(x) || x.reqs[left].method != "POST" || l.status != 201 || r.status != 400 && r.status != 413 {
		return amendment{}, false
	}
	ours := []string{
		"members talk to each other by http only, ", "URL must have a host and a port ", "URL must not have an IPv6 zone, ",
		"URL must be http://HOST:PORT and no more: ", "the body is longer than ",
	}
	if !slices.ContainsFunc(ours, func(start string) bool { return strings.HasPrefix(messageOf(r), start) }) {
		return amendment{}, false
	}
	t, err := parseTree(strings.TrimSuffix(string(l.body), "\n"))
	if err != nil {
		return amendment{}, false
	}
	remove := request{method: "DELETE", target: membersPrefix + "/" + t.text("id")}
	return amendment{skip: true, heal: [2][]request{left: {remove}}}, true
}

// messageOf returns the message of an answer outside the key space, or "".
func messageOf(a answer) string {
	t, err := parseTree(string(a.body))
	if err != nil {
		return ""
	}
	return t.text("message")
}

func peerURLs(a answer) []string {
	t, err := parseTree(strings.TrimSuffix(string(a.body), "\n"))
	list, _ := t.get("peerURLs")
	if err != nil {
		return nil
	}
	var all []string
	for _, item := range list.items {
		all = append(all, item.raw)
	}
	return all
}
