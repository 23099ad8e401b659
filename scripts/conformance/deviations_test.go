package main

import (
	"strings"
	"testing"
)

func find(t *testing.T, name string) deviation {
	t.Helper()
	for _, d := range deviations() {
		if d.name == name {
			return d
		}
	}
	t.Fatalf("no deviation %s", name)
	return deviation{}
}

func TestDeviationsAreNamedOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range deviations() {
		if seen[d.name] || d.where == "" || d.why == "" {
			t.Errorf("%q: named twice, or without a section or a reason", d.name)
		}
		seen[d.name] = true
	}
}

func TestAmendPath(t *testing.T) {
	amend := find(t, "clean-path").amend
	redirect := reply(301, "", "").with("Location", "/somewhere")
	for target, want := range map[string]string{
		"/v2/keys//a/b":                "/v2/keys/a/b",
		"/v2/keys/a/../b?x=1":          "/v2/keys/b?x=1",
		"/v2/keys/../auth/users":       "/v2/keys/auth/users",
		"/v2/keys/%2Fa%20b":            "/v2/keys/a%20b",
		"/v2/keys/..%2F..%2F0":         "/v2/keys/0",
		"/v2/members//":                "", // not a key
		"/v2/keys/a?wait=true&x=%2F..": "", // clean
	} {
		a, ok := amend(fakeExchange("PUT", target, redirect, reply(201, "5", node5)))
		if ok != (want != "") || ok && (a.side != left || a.req.target != want) {
			t.Errorf("%s: %t %+v", target, ok, a)
		}
	}
	if _, ok := amend(fakeExchange("PUT", "/v2/keys//a", reply(404, "5", lost), reply(201, "5", node5))); ok {
		t.Error("taken for a redirect: 404")
	}
}

func TestAmendSemicolons(t *testing.T) {
	amend := find(t, "semicolons").amend
	refused := reply(400, "0", `{"errorCode":210,"message":"Invalid POST form","cause":"invalid semicolon separator in query","index":0}`)
	a, ok := amend(fakeExchange("GET", "/v2/keys/a?x=1;y=2", refused, reply(200, "5", node5)))
	if !ok || a.side != left || a.req.target != "/v2/keys/a?x=1&y=2" {
		t.Errorf("%t %+v", ok, a)
	}
	other := reply(400, "0", `{"errorCode":210,"message":"Invalid POST form","cause":"invalid URL escape","index":0}`)
	if _, ok := amend(fakeExchange("GET", "/v2/keys/a?x=1;y=2", other, reply(200, "5", node5))); ok {
		t.Error("another 210 was taken for it")
	}
}

func TestAmendTTL(t *testing.T) {
	amend := find(t, "long-ttl").amend
	refused := reply(400, "0", `{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"invalid value for \"ttl\"","index":0}`)
	for ttl, want := range map[string]bool{"99999999999": true, "7000000000": false, "x": false, "": false} {
		a, ok := amend(fakeExchange("PUT", "/v2/keys/a?ttl="+ttl, reply(201, "5", node5), refused))
		if ok != want || ok && (a.side != right || a.req.target != "/v2/keys/a?ttl=") {
			t.Errorf("ttl=%s: %t %+v", ttl, ok, a)
		}
	}
	if _, ok := amend(fakeExchange("PUT", "/v2/keys/a?ttl=99999999999", reply(400, "0", lost), refused)); ok {
		t.Error("etcd refused it, too")
	}
}

func TestAmendLimits(t *testing.T) {
	value, key := find(t, "value-limit").amend, find(t, "key-limit").amend
	tooLarge := reply(413, "0", `{"errorCode":210,"message":"Invalid POST form","index":0}`)
	invalid := reply(400, "0", `{"errorCode":209,"message":"Invalid field","index":0}`)
	for n, want := range map[int]bool{maxValue: false, maxValue + 1: true} {
		a, ok := value(fakeExchange("PUT", "/v2/keys/a?value="+strings.Repeat("x", n), reply(201, "5", node5), tooLarge))
		if ok != want || ok && (!a.skip || len(a.heal[left]) != 1 || len(a.heal[right]) != 2) {
			t.Errorf("value of %d: %t", n, ok)
		}
	}
	for n, want := range map[int]bool{maxKey - 1: false, maxKey: true} {
		if _, ok := key(fakeExchange("PUT", "/v2/keys/"+strings.Repeat("k", n), reply(201, "5", node5), invalid)); ok != want {
			t.Errorf("key of %d: %t", n+1, ok)
		}
	}
	if a, ok := key(fakeExchange("GET", "/v2/keys/"+strings.Repeat("k", maxKey), reply(404, "5", lost), invalid)); !ok || a.heal[left] != nil {
		t.Error("a read of a long key needs no healing")
	}
}

func TestExplains(t *testing.T) {
	length, version, cors := find(t, "content-length"), find(t, "version"), find(t, "cors-off")
	all := reply(200, "5", node5).with("Access-Control-Allow-Origin", "*")
	one := all.with("Access-Control-Allow-Origin", "http://x")
	chunked := answer{status: 200, chunked: true, length: -1}
	long, short := answer{status: 200, length: 3000}, answer{status: 200, length: 100}
	for _, tc := range []struct {
		name  string
		d     deviation
		x     *exchange
		class string
		want  bool
	}{
		{"length", length, fakeExchange("GET", "/v2/keys/a", chunked, long), "header:Transfer-Encoding", true},
		{"length of little", length, fakeExchange("GET", "/v2/keys/a", chunked, short), "header:Transfer-Encoding", false},
		{"length the other way", length, fakeExchange("GET", "/v2/keys/a", long, chunked), "header:Transfer-Encoding", false},
		{"length of HEAD", length, fakeExchange("HEAD", "/v2/keys/a", answer{length: -1}, long), "header:Content-Length", true},
		{"length lost on HEAD", length, fakeExchange("HEAD", "/v2/keys/a", long, answer{length: -1}), "header:Content-Length", false},
		{"cors", cors, fakeExchange("GET", "/v2/keys/a", all, reply(200, "5", node5)), "header:Access-Control-Allow-Origin", true},
		{"other cors", cors, fakeExchange("GET", "/v2/keys/a", all, one), "header:Access-Control-Allow-Origin", false},
		{"cors the other way", cors, fakeExchange("GET", "/v2/keys/a", reply(200, "5", node5), all), "header:Access-Control-Allow-Origin", false},
		{"not cors", cors, fakeExchange("GET", "/v2/keys/a", all, reply(200, "5", node5)), "header:Allow", false},
		{"version", version, fakeExchange("GET", "/version", answer{}, reply(200, "", `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`)), "body:etcdserver", true},
		{"another version", version, fakeExchange("GET", "/version", answer{}, reply(200, "", `{"etcdserver":"9.9.9","etcdcluster":"2.3.0"}`)), "body:etcdserver", false},
		{"version's type", version, fakeExchange("GET", "/version", answer{}, reply(200, "", `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`)), "header:Content-Type", false},
	} {
		if got := tc.d.explains(tc.x, difference{class: tc.class}); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// A difference that is explained must not call for an amendment: both servers
// may refuse a request alike and differ in their headers alone.
func TestAmendOnlyWhatIsUnexplained(t *testing.T) {
	refused := reply(400, "0", `{"errorCode":210,"message":"Invalid POST form","cause":"invalid semicolon separator in query","index":0}`)
	x := fakeExchange("PUT", "/v2/keys/a?x=1;y=2", refused.with("Access-Control-Allow-Origin", "*"), refused)
	pl := &player{pair: fakePair(1), deviations: deviations(), report: newReport()}
	c, skip := pl.amend(x, pl.pair.compare(x, true))
	if skip || pl.report.deviations["semicolons"] != 0 || x.reqs[left].target != "/v2/keys/a?x=1;y=2" {
		t.Errorf("amended to %q", x.reqs[left].target)
	}
	if rest := pl.excuse(x, c); len(rest) > 0 || pl.report.deviations["cors-off"] != 1 {
		t.Errorf("left over: %v, deviations %v", rest, pl.report.deviations)
	}
}

func TestWatchDeviations(t *testing.T) {
	hidden, ancestor := find(t, "history-hidden").watch, find(t, "history-ancestor").watch
	past := watching{key: "/a/foobar", recursive: true, past: true}
	live := past
	live.past = false
	if !hidden(past, []string{"set /a/foobar/_h"}, nil) || hidden(past, []string{"set /a/foobar/h"}, nil) || hidden(live, []string{"set /a/foobar/_h"}, nil) {
		t.Error("history-hidden")
	}
	if !ancestor(past, []string{"delete /a/foo"}, nil) || ancestor(past, []string{"set /a/foo"}, nil) ||
		ancestor(past, []string{"delete /b"}, nil) || ancestor(live, []string{"delete /a/foo"}, nil) || ancestor(past, []string{"delete /a/foobar"}, nil) {
		t.Error("history-ancestor")
	}
}
