package main

import (
	"net/http"
	"slices"
	"testing"
)

func jsonReply(status int, body string) answer {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-Etcd-Cluster-Id", "cdf818194e3a8c32")
	return answer{status: status, header: h, length: int64(len(body)), body: []byte(body)}
}

// memberPair is a pair of clusters of two, to each of which one was added.
func memberPair() *pair {
	p := fakePair(1)
	for i, ids := range [2][]string{{"a1", "2", "e3"}, {"b1", "c2", "3"}} {
		base := ids[0]
		p.sides[i].memory.members = []identity{
			{name: "m1", member: ids[0], client: "http://" + base + ":1", peer: "http://" + base + ":2"},
			{name: "m2", member: ids[1], client: "http://" + base + ":3", peer: "http://" + base + ":4"},
		}
		p.sides[i].memory.added = []string{ids[2]}
	}
	return p
}

func TestCompareMembers(t *testing.T) {
	const (
		l      = `{"members":[{"id":"2","name":"m2","peerURLs":["http://a1:4"],"clientURLs":["http://a1:3"]},{"id":"a1","name":"m1","peerURLs":["http://a1:2"],"clientURLs":["http://a1:1"]},{"id":"e3","name":"","peerURLs":["http://x"],"clientURLs":[]}]}` + "\n"
		r      = `{"members":[{"id":"3","name":"","peerURLs":["http://x"],"clientURLs":[]},{"id":"b1","name":"m1","peerURLs":["http://b1:2"],"clientURLs":["http://b1:1"]},{"id":"c2","name":"m2","peerURLs":["http://b1:4"],"clientURLs":["http://b1:3"]}]}` + "\n"
		lAdded = `{"id":"aaa","name":"","peerURLs":["http://x"],"clientURLs":[]}` + "\n"
		rAdded = `{"id":"bbb","name":"","peerURLs":["http://x"],"clientURLs":[]}` + "\n"
	)
	for _, tc := range []struct {
		name, method, target string
		l, r                 answer
		want                 []string
	}{
		{"same", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, r), nil},
		{"not by id", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, replaced(t, r, `"id":"3"`, `"id":"c3"`)), []string{"body:members", "body:id"}},
		{"another name", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, replaced(t, r, `"name":""`, `"name":"m3"`)), []string{"body:name"}},
		{"another one's id", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, replaced(t, r, `"id":"b1"`, `"id":"b2"`)), []string{"body:id"}},
		{"URLs", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, replaced(t, r, `http://b1:4`, `http://b1:5`)), []string{"body:peerURLs"}},
		{"no newline", "GET", "/v2/members", jsonReply(200, l), jsonReply(200, replaced(t, r, "\n", "")), []string{"body:newline"}},
		{"added", "POST", "/v2/members", jsonReply(201, lAdded), jsonReply(201, rAdded), nil},
		{"added, id not hex", "POST", "/v2/members", jsonReply(201, lAdded), jsonReply(201, replaced(t, rAdded, "bbb", "0bbb")), []string{"body:id"}},
		{"added elsewhere", "POST", "/v2/members", jsonReply(201, lAdded), jsonReply(201, replaced(t, rAdded, "http://x", "http://y")), []string{"body:peerURLs"}},
		{"removed", "DELETE", "/v2/members/e3", jsonReply(410, `{"message":"Member permanently removed: e3"}`), jsonReply(410, `{"message":"Member permanently removed: 3"}`), nil},
		{"machines", "GET", "/v2/machines", jsonReply(200, "http://a1:1, http://a1:3"), jsonReply(200, "http://b1:1, http://b1:3"), nil},
		{"machines not sorted", "GET", "/v2/machines", jsonReply(200, "http://a1:1, http://a1:3"), jsonReply(200, "http://b1:3, http://b1:1"), []string{"body:text"}},
		{"machine missing", "GET", "/v2/machines", jsonReply(200, "http://a1:1, http://a1:3"), jsonReply(200, "http://b1:1"), []string{"body:text"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := memberPair().compare(fakeExchange(tc.method, tc.target, tc.l, tc.r), true)
			got := classes(c.diffs)
			if len(got) == 0 != (len(tc.want) == 0) || slices.ContainsFunc(tc.want, func(class string) bool { return !slices.Contains(got, class) }) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestExplainsMembers(t *testing.T) {
	reason, types, once := find(t, "reason-told"), find(t, "body-types"), find(t, "peer-urls-once")
	hidden := jsonReply(500, `{"message":"Internal Server Error"}`)
	unsafe := jsonReply(500, `{"message":"etcdserver: re-configuration failed: because"}`)
	goText, ours := jsonReply(400, `{"message":"json: cannot unmarshal array into Go value"}`), jsonReply(400, `{"message":"unexpected JSON array: the body"}`)
	twice, kept := jsonReply(201, `{"id":"a","peerURLs":["http://x","http://x","http://y"]}`), jsonReply(201, `{"id":"b","peerURLs":["http://x","http://y"]}`)
	for _, tc := range []struct {
		name   string
		d      deviation
		method string
		target string
		l, r   answer
		class  string
		want   bool
	}{
		{"reason", reason, "DELETE", "/v2/members/1", hidden, unsafe, "body:message", true},
		{"removed", reason, "PUT", "/v2/members/1", hidden, jsonReply(500, `{"message":"Member permanently removed: 1"}`), "body:message", true},
		{"another text", reason, "DELETE", "/v2/members/1", hidden, jsonReply(500, `{"message":"etcdserver: request timed out"}`), "body:message", false},
		{"another status", reason, "DELETE", "/v2/members/1", hidden, jsonReply(409, `{"message":"etcdserver: re-configuration failed: because"}`), "body:message", false},
		{"etcd tells", reason, "DELETE", "/v2/members/1", unsafe, hidden, "body:message", false},
		{"not of members", reason, "DELETE", "/v2/keys/1", hidden, unsafe, "body:message", false},
		{"types", types, "POST", "/v2/members", goText, ours, "body:message", true},
		{"other types", types, "POST", "/v2/members", goText, hidden, "body:message", false},
		{"once", once, "POST", "/v2/members", twice, kept, "body:peerURLs", true},
		{"lost", once, "POST", "/v2/members", twice, jsonReply(201, `{"id":"b","peerURLs":["http://x"]}`), "body:peerURLs", false},
	} {
		if got := tc.d.explains(fakeExchange(tc.method, tc.target, tc.l, tc.r), difference{class: tc.class}); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

func TestAmendMember(t *testing.T) {
	amend := find(t, "peer-urls-of-use").amend
	added := jsonReply(201, `{"id":"abc","name":"","peerURLs":["https://x:1"],"clientURLs":[]}`+"\n")
	https := jsonReply(400, `{"message":"members talk to each other by http only, not yet by https: https://x:1"}`)
	a, ok := amend(fakeExchange("POST", "/v2/members", added, https))
	if !ok || !a.skip || len(a.heal[left]) != 1 || a.heal[left][0].target != "/v2/members/abc" || a.heal[right] != nil {
		t.Errorf("%t %+v", ok, a)
	}
	for name, x := range map[string]*exchange{
		"another refusal": fakeExchange("POST", "/v2/members", added, jsonReply(400, `{"message":"no valid URLs given"}`)),
		"both refuse":     fakeExchange("POST", "/v2/members", https, https),
		"an update":       fakeExchange("PUT", "/v2/members/1", added, https),
	} {
		if _, ok := amend(x); ok {
			t.Error(name, "was taken for it")
		}
	}
}
