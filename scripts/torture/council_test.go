package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// councilOf is a council with one member, whose "server" is a shell script: enough to leave, to stay and to say something.
func councilOf(t *testing.T, script string) (*council, *procs.Member) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cluster, err := procs.New(procs.Config{Kind: procs.Witan, Binary: path, Members: 1, Groups: 1, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := &council{
		trial: newTrial("x", options{groups: 1, kind: procs.Witan}, &bytes.Buffer{}), look: &lookout{starts: map[int]int{}},
		ids: map[*procs.Member]string{cluster.Members[0]: "a"}, limits: limits{10 * time.Second, 10 * time.Second, 10 * time.Second},
	}
	c.cluster = cluster
	return c, cluster.Members[0]
}

func broken(c *council) []string {
	var out []string
	for _, v := range c.rep.Violations {
		out = append(out, v.String())
	}
	return out
}

// expectBroken fails unless promises were found broken exactly when they should be.
func expectBroken(t *testing.T, c *council, want bool) {
	t.Helper()
	if found := broken(c); (len(found) > 0) != want {
		t.Errorf("violations wanted: %t, found: %q", want, found)
	}
}

func TestARemovedMemberMustLeave(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		limit  time.Duration
		want   bool
	}{
		"leaves":             {"exit 0", 10 * time.Second, false},
		"leaves with status": {"exit 3", 10 * time.Second, true},
		"stays":              {"exec sleep 60", 50 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := councilOf(t, tc.script)
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			if err := c.departed(t.Context(), m, tc.limit); err != nil {
				t.Fatal(err)
			}
			expectBroken(t, c, tc.want)
			if m.Running() {
				t.Error("it still runs")
			}
		})
	}
}

func TestWhoComesBackMustBeTold(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		limit  time.Duration
		want   bool
	}{
		"is told":           {"echo the member was removed from the cluster; exit 0", 10 * time.Second, false},
		"ends without word": {"echo something else; exit 1", 10 * time.Second, true},
		"stays":             {"echo the member was removed from the cluster; exec sleep 60", 50 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := councilOf(t, tc.script)
			c.returns = tc.limit
			if err := c.comeback(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			expectBroken(t, c, tc.want)
		})
	}
}

// answering is a member that answers every membership change with that status, and GET by path. CLIENT in a text is its own address.
func answering(t *testing.T, status int, texts map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(status)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(texts[r.URL.Path], "CLIENT", "http://"+r.Host))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestARemovedIDMustBeGone(t *testing.T) {
	for status, want := range map[int]bool{http.StatusGone: false, http.StatusNotFound: true, http.StatusNoContent: true} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			c, m := councilOf(t, "exec sleep 60")
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			m.Client, c.heals = answering(t, status, nil), 100*time.Millisecond
			if err := c.gone(t.Context(), "b"); err != nil {
				t.Fatal(err)
			}
			expectBroken(t, c, want)
		})
	}
}

func TestAMembershipMustSettle(t *testing.T) {
	const list = `{"members":[{"id":"a","name":"m0","peerURLs":["PEER"],"clientURLs":["CLIENT"]}]}`
	const groups = `{"groups":[{"group":0,"voters":["a"]}],"meta":{"voters":["a"]}}`
	for name, tc := range map[string]struct {
		list, groups string
		want         bool
	}{
		"settled":           {list, groups, false},
		"one too many":      {strings.Replace(list, `[{`, `[{"id":"9"},{`, 1), groups, true},
		"not started":       {strings.Replace(list, `"m0"`, `""`, 1), groups, true},
		"a group without":   {list, strings.Replace(groups, `["a"]`, `[]`, 1), true},
		"meta has another":  {list, strings.Replace(groups, `{"voters":["a"]`, `{"voters":["a","b"]`, 1), true},
		"a group not there": {list, `{"groups":[],"meta":{"voters":["a"]}}`, true},
		"no meta":           {list, `{"groups":[]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := councilOf(t, "exec sleep 60")
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			m.Client = answering(t, http.StatusGone, map[string]string{
				"/v2/members": strings.ReplaceAll(tc.list, "PEER", m.Peer), "/v2/stats/groups": tc.groups,
			})
			c.rep.violate(c.unsettled(t.Context())...)
			expectBroken(t, c, tc.want)
		})
	}
}

// TestAGapIsFound: a group that took no write for longer than the limit is found, whatever the others do, and not
// while no member served.
func TestAGapIsFound(t *testing.T) {
	busy := func(from, to int) []time.Duration {
		var out []time.Duration
		for at := from; at < to; at += 100 {
			out = append(out, time.Duration(at)*time.Millisecond)
		}
		return out
	}
	idle := append(busy(0, 2000), busy(6000, 10000)...)
	for name, tc := range map[string]struct {
		groups   [][]time.Duration
		from, to int
		want     int
	}{
		"all busy":        {[][]time.Duration{busy(0, 10000), busy(0, 10000)}, 0, 10000, 0},
		"one idle":        {[][]time.Duration{busy(0, 10000), idle}, 0, 10000, 1},
		"both idle":       {[][]time.Duration{idle, idle}, 0, 10000, 2},
		"idle before":     {[][]time.Duration{idle}, 6000, 10000, 0},
		"never a write":   {[][]time.Duration{nil}, 0, 10000, 1},
		"none at the end": {[][]time.Duration{busy(0, 5000)}, 0, 10000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			found := tooLong(tc.groups, time.Duration(tc.from)*time.Millisecond, time.Duration(tc.to)*time.Millisecond, 3*time.Second)
			if len(found) != tc.want {
				t.Errorf("found %v, want %d", found, tc.want)
			}
		})
	}
}

func TestStepOf(t *testing.T) {
	line := `{"level":"info","component":"cluster","group":"meta","step":"add learner","member":"c0","time":"2026-11-23T22:10:10.514Z","message":"membership step"}`
	want := check.Step{At: time.Date(2026, 11, 23, 22, 10, 10, 514e6, time.UTC), By: "m1", Group: "meta", Kind: "add learner", Member: "c0"}
	if got, ok := stepOf("m1", line); !ok || got != want {
		t.Errorf("got %v, %t", got, ok)
	}
	for _, other := range []string{"", "membership step", strings.Replace(line, "membership step", "no membership step", 1)} {
		if got, ok := stepOf("m1", other); ok {
			t.Errorf("%q is taken for %v", other, got)
		}
	}
}

func TestRoster(t *testing.T) {
	r := &roster{}
	for _, url := range []string{"a", "b", "c"} {
		r.add(url)
	}
	r.leave(1)
	if r.after(0) != 2 || r.after(2) != 0 || r.after(1) != 2 || r.url(1) != "" || r.len() != 3 {
		t.Errorf("after 0 comes %d, after 1 %d, after 2 %d", r.after(0), r.after(1), r.after(2))
	}
	r.leave(2)
	if r.after(0) != 0 {
		t.Errorf("after the last comes %d", r.after(0))
	}
}

// TestLookoutKeepsChanges: what a process shows again and again is kept once, and a restarted member is another process.
func TestLookoutKeepsChanges(t *testing.T) {
	list := `{"members":[{"id":"b"},{"id":"a"}]}`
	tr := newTrial("x", options{}, &bytes.Buffer{})
	tr.roster = &roster{}
	tr.roster.add(answering(t, http.StatusGone, map[string]string{"/v2/members": list}))
	o := &lookout{t: tr, starts: map[int]int{}, last: map[string]int{}}
	for range 3 {
		o.ask(t.Context(), 0)
	}
	o.restarted(0)
	o.ask(t.Context(), 0)
	views, asked := o.seen()
	if asked != 4 || len(views) != 2 || views[0].Process != "m0#0" || views[1].Process != "m0#1" || fmt.Sprint(views[0].IDs) != "[a b]" {
		t.Errorf("asked %d times, seen %v", asked, views)
	}
}

func TestAWatcherRetires(t *testing.T) {
	w := &watcher{seq: check.Sequence{}, stop: func() {}, done: make(chan struct{}), news: make(chan struct{}, 1)}
	close(w.done)
	w.tell(history.Event{Index: 7})
	w.retire()
	if err := w.reach(t.Context(), 100); err != nil || w.sequence().Until != 7 {
		t.Errorf("%v, until %d", err, w.sequence().Until)
	}
}
