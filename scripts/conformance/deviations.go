package main

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// deviation is something in which witan is meant to differ from etcd.
type deviation struct {
	name  string
	where string // the section that decides it
	why   string

	// explains reports whether d is exactly this deviation.
	explains func(x *exchange, d difference) bool

	// amend is for deviations after which the two servers would hold
	// different trees, or where there is something to compare all the same:
	// it says what to send instead, and to whom.
	amend func(x *exchange) (amendment, bool)

	// watch reports whether the deviation explains why etcd sent events to a
	// watcher that should have been others: those the journal says, which are
	// what witan sent.
	watch func(w watching, etcd, expected []string) bool
}

// amendment brings the comparison back on one road.
type amendment struct {
	// Ask side again with req; its answer takes the place of the first one.
	side int
	req  request
	// Or, with heal set: compare nothing, but send these to bring the trees
	// and the indexes back together.
	heal [2][]request
	skip bool
}

// Names of the deviations that the comparison itself allows for.
const (
	devSorted      = "sorted-listings"
	devNegativeTTL = "no-negative-ttl"
	devFrontier    = "group-frontier"
)

// Limits of witan that etcd does not have.
const (
	maxTTL   = 7_000_000_000
	maxValue = 1 << 20
	maxKey   = 32_768
)

// deviations is the list of all that witan is meant to do differently.
func deviations() []deviation {
	return slices.Concat(requestDeviations(), answerDeviations(), memberDeviations(), watchDeviations(), []deviation{
		{name: devSorted, where: "contract §1.7", why: "listings are always sorted; etcd's are in random order unless asked"},
		{name: devNegativeTTL, where: "design §5", why: "a node overdue for expiry shows no ttl; etcd shows a negative one"},
		{name: devFrontier, where: "design §3", why: "with several groups X-Etcd-Index of a read is the group's frontier, not the index of the last event"},
	})
}

// requestDeviations are about requests that witan accepts and etcd does not, or
// the other way round.
func requestDeviations() []deviation {
	return []deviation{{
		name: "clean-path", where: "contract §1.1",
		why:   "unclean paths are served in place; etcd redirects, and clients lose method and body on the way",
		amend: amendPath,
	}, {
		name: "semicolons", where: "contract §1.3",
		why: "a semicolon separates parameters as in 2.3; etcd built with Go 1.17 or later answers 210",
		amend: func(x *exchange) (amendment, bool) {
			req := x.reqs[left]
			hidden := req.method == "HEAD" && x.answers[left].status == 400 && strings.Contains(req.query(), ";")
			if !hidden && !strings.Contains(string(x.answers[left].body), "invalid semicolon separator in query") {
				return amendment{}, false
			}
			req.target, req.body = strings.ReplaceAll(req.target, ";", "&"), strings.ReplaceAll(req.body, ";", "&")
			return amendment{side: left, req: req}, true
		},
	}, {
		name: "long-ttl", where: "contract §1.14",
		why:   "a ttl above 7,000,000,000 s is a 202; in etcd it overflows and wraps",
		amend: amendTTL,
	}, {
		name: "value-limit", where: "contract §8 item 21",
		why:   "a value above 1 MiB is refused with 413 and code 210; etcd takes up to 10 MiB of form",
		amend: amendValue,
	}, {
		name: "key-limit", where: "contract §8 item 21",
		why:   "a key longer than 32,768 bytes is refused with 209; etcd has no limit of its own",
		amend: amendKey,
	}}
}

// amendPath recognises etcd's redirect to the clean path, and sends etcd what
// the path means to us: cleaned below /v2/keys and never climbing out of it.
func amendPath(x *exchange) (amendment, bool) {
	l := x.answers[left]
	if l.status != 301 && l.status != 307 || l.header.Get("Location") == "" {
		return amendment{}, false
	}
	key, ok := keyOf(x.reqs[left])
	if !ok {
		return amendment{}, false
	}
	req := x.reqs[left]
	req.target = (&url.URL{Path: keysPrefix + key}).EscapedPath()
	if q := x.reqs[left].query(); q != "" {
		req.target += "?" + q
	}
	return amendment{side: left, req: req}, req.target != x.reqs[left].target
}

// amendTTL recognises our 202 to a ttl that etcd took for "no ttl", and asks
// witan again without it.
func amendTTL(x *exchange) (amendment, bool) {
	req := x.reqs[right]
	ttl := req.parameter("ttl")
	n, err := strconv.ParseUint(ttl, 10, 64)
	if err != nil || n <= maxTTL || x.answers[left].status >= 300 || errorCode(x.answers[right]) != 202 {
		return amendment{}, false
	}
	without := strings.NewReplacer("ttl="+ttl, "ttl=")
	req.target, req.body = without.Replace(req.target), without.Replace(req.body)
	return amendment{side: right, req: req}, true
}

// amendValue recognises our 413 to a large value; etcd's key is deleted again,
// and witan gets two writes of its own so that both have made two events.
func amendValue(x *exchange) (amendment, bool) {
	l, r := x.answers[left], x.answers[right]
	if len(x.reqs[right].parameter("value")) <= maxValue || l.status >= 300 || r.status != 413 || errorCode(r) != 210 {
		return amendment{}, false
	}
	return amendment{skip: true, heal: undo(x, x.reqs[right].path())}, true
}

// amendKey recognises our 209 to a long key.
func amendKey(x *exchange) (amendment, bool) {
	key, _ := keyOf(x.reqs[right])
	if len(key) <= maxKey || errorCode(x.answers[right]) != 209 {
		return amendment{}, false
	}
	if x.answers[left].status >= 300 || !isWrite(x.reqs[left].method) {
		return amendment{skip: true}, true
	}
	return amendment{skip: true, heal: undo(x, keysPrefix+"/conformance-undo")}, true
}

// undo deletes what only etcd wrote and makes witan write and delete at path.
func undo(x *exchange, path string) [2][]request {
	del := func(path string) request { return request{method: "DELETE", target: path} }
	return [2][]request{
		left:  {del(x.reqs[left].path())},
		right: {{method: "PUT", target: path, body: "value="}, del(path)},
	}
}

func isWrite(method string) bool { return takesBody(method) || method == "DELETE" }

// errorCode returns the errorCode of an answer, or 0.
func errorCode(a answer) int {
	t, err := parseTree(strings.TrimSuffix(string(a.body), "\n"))
	if err != nil {
		return 0
	}
	return int(t.number("errorCode"))
}

// answerDeviations are about what answers look like.
func answerDeviations() []deviation {
	return []deviation{{
		name: "cors-off", where: "contract §4.9",
		why: "no CORS headers unless --cors is given, as in 2.3; etcd 3.x allows every origin",
		explains: func(x *exchange, d difference) bool {
			name, ok := strings.CutPrefix(d.class, "header:")
			return ok && strings.HasPrefix(name, "Access-Control-Allow-") && x.answers[right].header.Get(name) == "" &&
				x.answers[left].header.Get("Access-Control-Allow-Origin") == "*"
		},
	}, {
		name: "content-length", where: "contract §1.6",
		why: "an answer over 2 KiB says its length; etcd sends it in chunks, as net/http does when nobody sets the length",
		explains: func(x *exchange, d difference) bool {
			l, r := x.answers[left], x.answers[right]
			if x.reqs[left].method == "HEAD" {
				return d.class == "header:Content-Length" && l.length < 0 && r.length > 2048
			}
			return d.class == "header:Transfer-Encoding" && l.chunked && r.length > 2048
		},
	}, {
		name: "version", where: "contract §4.4",
		why: "/version claims 2.3.8",
		explains: func(x *exchange, d difference) bool {
			return x.reqs[left].path() == "/version" && (d.class == "body:etcdserver" || d.class == "body:etcdcluster") &&
				strings.HasPrefix(string(x.answers[right].body), `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"`)
		},
	}, {
		name: "no-metrics", where: "not built yet",
		why: "/metrics and /debug/vars are not served yet",
		explains: func(x *exchange, _ difference) bool {
			path := x.reqs[left].path()
			return (path == "/metrics" || path == "/debug/vars") && x.answers[right].status == 404
		},
	}}
}

// watchDeviations are etcd's known defects of watches (contract §2.4). Each is
// tried only after witan was found to send exactly what it should.
func watchDeviations() []deviation {
	return []deviation{{
		name: "stream-replay", where: "contract §2.4 item 1",
		why: "a stream with an old waitIndex replays all and goes on; etcd sends one event and falls silent for ever",
		watch: func(w watching, etcd, expected []string) bool {
			return w.stream && w.past && len(etcd) == 1 && len(expected) > 1 && etcd[0] == expected[0]
		},
	}, {
		name: "no-duplicates", where: "contract §2.4 item 2",
		why: "a stream sees the removal of its node once; etcd sends it twice",
		watch: func(w watching, etcd, expected []string) bool {
			return w.stream && len(etcd) > len(expected) && slices.Equal(slices.Compact(slices.Clone(etcd)), expected)
		},
	}, {
		name: "history-hidden", where: "contract §2.4 item 4",
		why: "hidden keys stay hidden when the history is searched; etcd shows them",
		watch: func(w watching, etcd, expected []string) bool {
			return w.recursive && w.past && len(etcd) > 0 && hiddenBelow(w.key, outlineKey(etcd[0]))
		},
	}, {
		name: "history-ancestor", where: "contract §2.4 item 5",
		why: "the removal of an ancestor is found in the history by whole components, and only if the key was there; etcd compares string prefixes",
		watch: func(w watching, etcd, expected []string) bool {
			if !w.past || len(etcd) == 0 {
				return false
			}
			action, key, _ := strings.Cut(etcd[0], " ")
			removal := action == "delete" || action == "compareAndDelete" || action == "expire"
			return removal && key != w.key && strings.HasPrefix(w.key, key)
		},
	}}
}

func outlineKey(outline string) string {
	_, key, _ := strings.Cut(outline, " ")
	return key
}
