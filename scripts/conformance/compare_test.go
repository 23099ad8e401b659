package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// fakePair is a pair without servers.
func fakePair(groups int) *pair {
	p := &pair{groups: groups, idx: newIndexMap(groups == 1, 0), journal: newJournal(), tops: make(map[string]bool)}
	for i, member := range []string{"aaaa", "bbbb"} {
		self := identity{member: member, client: "http://" + member + ":1", peer: "http://" + member + ":2"}
		p.sides[i] = &side{server: &server{product: product{name: member}, self: self}, memory: newMemory([]identity{self}, 4)}
	}
	return p
}

// reply makes an answer with the headers of a key request.
func reply(status int, index, body string) answer {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-Etcd-Cluster-Id", "cdf818194e3a8c32")
	h.Set("X-Etcd-Index", index)
	if status < 300 {
		h.Set("X-Raft-Index", "7")
		h.Set("X-Raft-Term", "2")
	}
	return answer{status: status, header: h, length: int64(len(body)), body: []byte(body)}
}

func (a answer) with(name, value string) answer {
	a.header = a.header.Clone()
	if value == "" {
		a.header.Del(name)
	} else {
		a.header.Set(name, value)
	}
	return a
}

func fakeExchange(method, target string, l, r answer) *exchange {
	req := request{method: method, target: target}
	return &exchange{step: step{req: req}, reqs: [2]request{req, req}, answers: [2]answer{l, r}}
}

func classes(diffs []difference) []string {
	var all []string
	for _, d := range diffs {
		all = append(all, d.class)
	}
	return all
}

const (
	node5 = `{"action":"get","node":{"key":"/a","value":"x","modifiedIndex":5,"createdIndex":5}}` + "\n"
	ttl20 = `{"action":"get","node":{"key":"/a","value":"x","expiration":"2026-01-01T00:00:20.5Z","ttl":20,"modifiedIndex":5,"createdIndex":5}}` + "\n"
	list  = `{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","value":"x","modifiedIndex":5,"createdIndex":5},{"key":"/b","value":"y","modifiedIndex":4,"createdIndex":4}]}}` + "\n"
	swap  = `{"action":"get","node":{"dir":true,"nodes":[{"key":"/b","value":"y","modifiedIndex":4,"createdIndex":4},{"key":"/a","value":"x","modifiedIndex":5,"createdIndex":5}]}}` + "\n"
	lost  = `{"errorCode":100,"message":"Key not found","cause":"/a","index":5}` + "\n"
	cmp10 = `{"errorCode":101,"message":"Compare failed","cause":"[10 != 5]","index":5}` + "\n"
)

// replaced returns s with old replaced, and fails if there is nothing to replace.
func replaced(t *testing.T, s, old, with string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("%q is not in %q", old, s)
	}
	return strings.Replace(s, old, with, 1)
}

func TestCompareFinds(t *testing.T) {
	get := func(body string) answer { return reply(200, "5", body) }
	edit := func(body, old, with string) answer { return get(replaced(t, body, old, with)) }
	fail := func(body, old, with string) answer { return reply(404, "5", replaced(t, body, old, with)) }
	chunked := get(node5)
	chunked.chunked, chunked.length = true, -1
	closing := get(node5)
	closing.closes = true
	for _, tc := range []struct {
		name, target string
		l, r         answer
		want         string
	}{
		{"status", "/v2/keys/a", reply(201, "5", node5), get(node5), "status:201/200"},
		{"no answer", "/v2/keys/a", get(node5), answer{err: errNotSent}, "no-answer"},
		{"header missing", "/v2/keys/a", get(node5), get(node5).with("X-Raft-Term", ""), "header:X-Raft-Term"},
		{"header extra", "/v2/keys/a", get(node5), get(node5).with("Server", "x"), "header:Server"},
		{"header value", "/v2/keys/a", get(node5), get(node5).with("Content-Type", "text/plain"), "header:Content-Type"},
		{"raft index no number", "/v2/keys/a", get(node5), get(node5).with("X-Raft-Index", "many"), "header:X-Raft-Index"},
		{"cluster id not hex", "/v2/keys/a", get(node5), get(node5).with("X-Etcd-Cluster-Id", "CDF8"), "header:X-Etcd-Cluster-Id"},
		{"index", "/v2/keys/a", get(node5), reply(200, "6", node5), "header:X-Etcd-Index"},
		{"length kind", "/v2/keys/a", chunked, get(node5), "header:Transfer-Encoding"},
		{"connection", "/v2/keys/a", get(node5), closing, "connection"},
		{"value", "/v2/keys/a", get(node5), edit(node5, `"x"`, `"y"`), "body:value"},
		{"escape", "/v2/keys/a", get(node5), edit(node5, `"x"`, `"\u0078"`), "body:value"},
		{"key", "/v2/keys/a", get(node5), edit(node5, "/a", "/A"), "body:key"},
		{"action", "/v2/keys/a", get(node5), edit(node5, "get", "set"), "body:action"},
		{"modifiedIndex", "/v2/keys/a", get(node5), edit(node5, `"modifiedIndex":5`, `"modifiedIndex":6`), "body:modifiedIndex"},
		{"field order", "/v2/keys/a", get(node5), edit(node5, `"modifiedIndex":5,"createdIndex":5`, `"createdIndex":5,"modifiedIndex":5`), "body:fields"},
		{"field missing", "/v2/keys/a", get(node5), edit(node5, `,"createdIndex":5`, ``), "body:fields"},
		{"newline", "/v2/keys/a", get(node5), edit(node5, "\n", ""), "body:newline"},
		{"spaces", "/v2/keys/a", get(node5), edit(node5, `:{`, `: {`), "body:text"},
		{"type", "/v2/keys/a", get(node5), edit(node5, `"x"`, `1`), "body:type"},
		{"ttl", "/v2/keys/a", get(ttl20), edit(ttl20, `"ttl":20`, `"ttl":22`), "body:ttl"},
		{"expiration far", "/v2/keys/a", get(ttl20), edit(ttl20, "20.5Z", "23.5Z"), "body:expiration"},
		{"expiration zeros", "/v2/keys/a", get(ttl20), edit(ttl20, "20.5Z", "20.50Z"), "body:expiration"},
		{"expiration zone", "/v2/keys/a", get(ttl20), edit(ttl20, "20.5Z", "20.5+00:00"), "body:expiration"},
		{"expiration lost", "/v2/keys/a", get(ttl20), edit(ttl20, `"expiration":"2026-01-01T00:00:20.5Z",`, ``), "body:fields"},
		{"order when sorted", "/v2/keys/?sorted=true", get(list), get(swap), "body:key"},
		{"child lost", "/v2/keys/", get(list), edit(list, `,{"key":"/b","value":"y","modifiedIndex":4,"createdIndex":4}`, ``), "body:nodes"},
		{"cause", "/v2/keys/a", reply(404, "5", lost), fail(lost, "/a", "/b"), "body:cause"},
		{"error index", "/v2/keys/a", reply(404, "5", lost), fail(lost, `"index":5`, `"index":0`), "body:index"},
		{"error code", "/v2/keys/a", reply(404, "5", lost), fail(lost, `100`, `101`), "body:errorCode"},
		{"message", "/v2/keys/a", reply(404, "5", lost), fail(lost, `not found`, `not Found`), "body:message"},
		{"compared index", "/v2/keys/a?prevIndex=10", reply(412, "5", cmp10), reply(412, "5", replaced(t, cmp10, "!= 5", "!= 6")), "body:cause"},
		{"given index", "/v2/keys/a?prevIndex=10", reply(412, "5", cmp10), reply(412, "5", replaced(t, cmp10, "[10", "[5")), "body:cause"},
		{"plain text", "/v2/other", get("404 page not found\n"), get("404 Page not found\n"), "body:text"},
		{"machines", "/v2/machines", get("http://aaaa:1"), get("http://cccc:1"), "body:text"},
		{"stats field", "/v2/stats/store", get(`{"a":1,"b":2}`), get(`{"a":1}`), "body:fields"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fakePair(1).compare(fakeExchange("GET", tc.target, tc.l, tc.r), true)
			if got := classes(c.diffs); !slices.Contains(got, tc.want) {
				t.Errorf("got %q, want %s among them", got, tc.want)
			}
		})
	}
}

func TestCompareAllows(t *testing.T) {
	get := func(body string) answer { return reply(200, "5", body) }
	long := get(node5)
	long.chunked, long.length = true, -1
	long.body = []byte(strings.Repeat("x", 2049))
	short := get(strings.Repeat("x", 2048))
	for _, tc := range []struct {
		name, target string
		l, r         answer
	}{
		{"same", "/v2/keys/a", get(node5), get(node5)},
		{"both dead", "/v2/keys/a", answer{err: errNotSent}, answer{err: errNotSent}},
		{"raft position", "/v2/keys/a", get(node5), get(node5).with("X-Raft-Index", "99").with("X-Raft-Term", "3")},
		{"cluster id", "/v2/keys/a", get(node5), get(node5).with("X-Etcd-Cluster-Id", "1f")},
		{"date", "/v2/keys/a", get(node5).with("Date", "x"), get(node5).with("Date", "y")},
		{"random order", "/v2/keys/", get(swap), get(list)},
		{"ttl", "/v2/keys/a", get(ttl20), get(replaced(t, ttl20, `"ttl":20`, `"ttl":19`))},
		{"expiration", "/v2/keys/a", get(ttl20), get(replaced(t, ttl20, "20.5Z", "21.25Z"))},
		{"ttl 0 and 1", "/v2/keys/a", get(replaced(t, ttl20, `"ttl":20`, `"ttl":1`)), get(replaced(t, ttl20, `,"ttl":20`, ``))},
		{"negative ttl", "/v2/keys/a", get(replaced(t, ttl20, `"ttl":20`, `"ttl":-3`)), get(replaced(t, ttl20, `,"ttl":20`, ``))},
		{"names of the servers", "/v2/members", get(`{"id":"aaaa","clientURLs":["http://aaaa:1"]}`), get(`{"id":"bbbb","clientURLs":["http://bbbb:1"]}`)},
		{"stats", "/v2/stats/store", get(`{"a":1,"b":2}`), get(`{"a":3,"b":4}`)},
		{"around 2 KiB", "/debug/vars", long, short},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if c := fakePair(1).compare(fakeExchange("GET", tc.target, tc.l, tc.r), true); len(c.diffs) > 0 {
				t.Errorf("differences: %v", c.diffs)
			}
		})
	}
}

func TestCompareRemembersTheClusterID(t *testing.T) {
	p := fakePair(1)
	first := fakeExchange("GET", "/v2/keys/a", reply(200, "5", node5), reply(200, "5", node5))
	if c := p.compare(first, true); len(c.diffs) > 0 {
		t.Fatalf("differences: %v", c.diffs)
	}
	second := fakeExchange("GET", "/v2/keys/a", reply(200, "5", node5), reply(200, "5", node5).with("X-Etcd-Cluster-Id", "1f"))
	if got := classes(p.compare(second, true).diffs); !slices.Equal(got, []string{"header:X-Etcd-Cluster-Id"}) {
		t.Errorf("got %q for a cluster id that changed", got)
	}
}

// With several groups the right side's indexes are others, and must map.
func TestCompareMapsIndexes(t *testing.T) {
	p := fakePair(4)
	put := func(key string, l, r string) *exchange {
		body := func(i string) string {
			return `{"action":"create","node":{"key":"/q/` + strings.Repeat("0", 20-len(i)) + i + `","value":"","modifiedIndex":` + i + `,"createdIndex":` + i + `}}` + "\n"
		}
		return fakeExchange("POST", "/v2/keys/"+key, reply(201, l, body(l)), reply(201, r, body(r)))
	}
	for _, x := range []*exchange{put("q", "4", "6"), put("q", "5", "10")} {
		if c := p.compare(x, true); len(c.diffs) > 0 {
			t.Fatalf("differences: %v", c.diffs)
		}
	}
	if got := classes(p.compare(put("q", "5", "14"), true).diffs); !slices.Contains(got, "body:key") || !slices.Contains(got, "body:modifiedIndex") {
		t.Errorf("got %q for an index that maps twice", got)
	}
	if got := classes(p.compare(put("q", "6", "8"), true).diffs); !slices.Contains(got, "body:modifiedIndex") {
		t.Errorf("got %q for an index that goes back", got)
	}
}

func TestCompareEventOnlyInHeader(t *testing.T) {
	p := fakePair(4)
	x := fakeExchange("PUT", "/v2/keys/a?noValueOnSuccess=true", reply(201, "4", `{"action":"set"}`+"\n"), reply(201, "9", `{"action":"set"}`+"\n"))
	if c := p.compare(x, true); len(c.diffs) > 0 {
		t.Fatalf("differences: %v", c.diffs)
	}
	x.answers[right] = x.answers[right].with("X-Etcd-Index", "13")
	if got := classes(p.compare(x, true).diffs); !slices.Equal(got, []string{"body:X-Etcd-Index"}) {
		t.Errorf("got %q for a second index of the same event", got)
	}
}
