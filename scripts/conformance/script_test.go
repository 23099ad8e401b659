package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameStep = cmp.Options{cmp.AllowUnexported(step{}, request{}), cmpopts.IgnoreFields(step{}, "line"), cmpopts.EquateEmpty()}

func render(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// What is printed to repeat a difference must be readable again.
func TestScriptsRoundTrip(t *testing.T) {
	scripts, err := loadScripts("")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 15 {
		t.Errorf("only %d scripts", len(scripts))
	}
	for _, s := range append(scripts, generate(1, 3000, 1), generate(2, 1000, 4)) {
		again, err := parseScript(s.name, render(s.steps))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.steps, again.steps, sameStep); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
}

func TestParseScript(t *testing.T) {
	s, err := parseScript("x", "# comment\ngroups 1\nmembers 3\nflags --a=b --c\n\nPUT /v2/keys/a b\n  > Content-Type: text/plain\n  | value=\\x41\n  | \\n\nwatch w /v2/keys/a?wait=true\nevents w v\nfill 20 /v2/keys/n\nexpire /v2/keys/a\nwipe\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{req: request{method: "PUT", target: "/v2/keys/a b", header: []string{"Content-Type: text/plain"}, body: "value=A\n"}},
		{verb: "watch", names: []string{"w"}, req: request{method: "GET", target: "/v2/keys/a?wait=true"}},
		{verb: "events", names: []string{"w", "v"}},
		{verb: "fill", count: 20, req: request{method: "PUT", target: "/v2/keys/n"}},
		{verb: "expire", req: request{method: "GET", target: "/v2/keys/a"}},
		{verb: "wipe"},
	}
	if diff := cmp.Diff(want, s.steps, sameStep); diff != "" {
		t.Error(diff)
	}
	if s.groups != 1 || s.members != 3 || !slices.Equal(s.flags, []string{"--a=b", "--c"}) {
		t.Errorf("groups %d, members %d, flags %q", s.groups, s.members, s.flags)
	}
}

func TestParseScriptRefuses(t *testing.T) {
	for _, text := range []string{"get /v2/keys", "PUT", "events", "watch w", "fill x /v2/keys", "  | body", "GET /\n  body", "GET /\n  | \\x1", "expire", "groups many", "members all"} {
		if _, err := parseScript("x", text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestGenerateRepeats(t *testing.T) {
	if a, b := generate(7, 500, 1), generate(7, 500, 1); render(a.steps) != render(b.steps) {
		t.Error("one seed gave two sequences")
	}
	if a, b := generate(7, 500, 1), generate(8, 500, 1); render(a.steps) == render(b.steps) {
		t.Error("two seeds gave one sequence")
	}
}

// The random sequences must reach what they are for.
func TestGenerateCovers(t *testing.T) {
	text := render(generate(1, 5000, 1).steps)
	for _, want := range []string{
		"\nPUT ", "\nPOST ", "\nDELETE ", "\nHEAD ", "\nGET ", "\nPATCH ", "\nOPTIONS ", "\nwatch ", "\nexpire ", "wait=", "recursive=", "sorted=", "quorum=true",
		"stream=", "prevIndex=${mod", "prevValue=", "prevExist=", "refresh=", "noValueOnSuccess=", "ttl=1", "dir=", "%2F", "//", "..", "_h", "%C3%BC", "50%25",
		"waitIndex=${back", "waitIndex=${last+", "Content-Type: ;;", "${name ", "maybe", "a;b",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing with %q", want)
		}
	}
}

func TestExpand(t *testing.T) {
	m := newMemory([]identity{{member: "8e9e", client: "http://c", peer: "http://p"}, {member: "77", peer: "http://p2"}}, 4)
	for _, line := range []string{event("set", "/a", 4), event("set", "/b", 6), event("update", "/a", 7), event("set", "/a", 7), event("set", "/c", 5)} {
		m.learn("PUT", mustTree(t, strings.TrimSpace(line)))
	}
	m.learn("POST", mustTree(t, `{"action":"create","node":{"key":"/q/00000000000000000009","modifiedIndex":9}}`))
	m.learn("PUT", mustTree(t, `{"action":"set"}`))
	m.learnMember("POST", reply(201, "", `{"id":"ab1","name":""}`+"\n"))
	m.learnMember("POST", reply(409, "", `{"message":"membership: peerURL exists"}`))
	m.learnMember("POST", reply(201, "", `{"id":"ab2","name":""}`+"\n"))
	for in, want := range map[string]string{
		"${added 0} ${added 1} ${added 2}": "ab2 ab1 none", "${ADDED 1}": "000AB1", "${member 2} ${peer 2} ${member 3}": "77 http://p2 none",
		"plain": "plain", "${mod /a}": "7", "${old /a}": "4", "${next /a}": "8", "${old /b}": "7777777777", "${mod /none}": "7777777777",
		"${back 0}": "9", "${back 1}": "7", "${after 1}": "8", "${back 3}": "5", "${last+2}": "11", "${pad last+2}": "00000000000000000011", "${first}": "4",
		"${name /q}": "00000000000000000009", "${name /none}": "none", "${rep 3 ab}": "ababab",
		"a${mod /b}c${member}": "a6c8e9e", "${client} ${peer}": "http://c http://p", "${unknown}": "${unknown}",
	} {
		if got := m.expand(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestShrink(t *testing.T) {
	var steps []step
	for i := range 100 {
		steps = append(steps, step{verb: "events", line: i})
	}
	guilty := func(steps []step) bool {
		has := func(line int) bool { return slices.ContainsFunc(steps, func(s step) bool { return s.line == line }) }
		return has(3) && has(70)
	}
	got := shrink(steps, guilty)
	if len(got) != 2 || got[0].line != 3 || got[1].line != 70 {
		t.Errorf("got %v", got)
	}
	if got := shrink(steps, func([]step) bool { return false }); got != nil {
		t.Errorf("got %v from what does not repeat", got)
	}
}

func TestParseTree(t *testing.T) {
	for _, s := range []string{`{}`, `[]`, `{"a":[1,-2.5,true,null,"x\"y"],"b":{"c":[{}]}}`, `"x"`, `7`} {
		tr, err := parseTree(s)
		if err != nil || tr.String() != s {
			t.Errorf("%s: %q %v", s, tr.String(), err)
		}
	}
	for _, s := range []string{``, `{`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `[1 ]`, `{"a": 1}`, `{} `, `"x`, `{"a":1}{"a":1}`, `{a:1}`, `[1,]`} {
		if tr, err := parseTree(s); !errors.Is(err, errNotCompact) {
			t.Errorf("%q was taken: %v", s, tr)
		}
	}
}
