package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func event(action, key string, index int) string {
	return fmt.Sprintf(`{"action":%q,"node":{"key":%q,"modifiedIndex":%d,"createdIndex":4}}`+"\n", action, key, index)
}

func fakeWatcher(l, r []string, lended, rended bool) *watcher {
	req := request{method: "GET", target: "/v2/keys/a?wait=true&stream=true&recursive=true"}
	long := time.Now().Add(-time.Minute)
	return &watcher{
		reqs:  [2]request{req, req},
		spec:  watching{key: "/a", recursive: true, stream: true, from: 4},
		feeds: [2]*feed{{events: l, ended: lended, changed: long}, {events: r, ended: rended, changed: long}},
	}
}

func TestCompareWatch(t *testing.T) {
	set4, set5, del6 := event("set", "/a", 4), event("set", "/a/b", 5), event("delete", "/a", 6)
	for _, tc := range []struct {
		name           string
		l, r           []string
		lended, rended bool
		want           []string
	}{
		{"same", []string{set4, set5}, []string{set4, set5}, false, false, nil},
		{"none", nil, nil, false, false, nil},
		{"missing", []string{set4, set5}, []string{set4}, false, false, []string{"watch:missing"}},
		{"extra", []string{set4}, []string{set4, set4}, false, false, []string{"watch:extra"}},
		{"order", []string{set4, set5}, []string{set5, set4}, false, false, []string{"watch:order"}},
		{"other", []string{set4}, []string{del6}, false, false, []string{"watch:other"}},
		{"index", []string{set4}, []string{event("set", "/a", 5)}, false, false, []string{"watch:modifiedIndex"}},
		{"end", []string{set4}, []string{set4}, true, false, []string{"watch:end"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fakePair(1).compareWatch(fakeWatcher(tc.l, tc.r, tc.lended, tc.rended))
			if got := classes(c.diffs); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func mustTree(t *testing.T, s string) tree {
	t.Helper()
	tr, err := parseTree(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return tr
}

func journalOf(t *testing.T, lines ...string) *journal {
	t.Helper()
	j := newJournal()
	for _, line := range lines {
		j.add(mustTree(t, line[:len(line)-1]), false)
	}
	return j
}

func TestJournal(t *testing.T) {
	j := journalOf(t,
		event("set", "/a/b/c", 4), event("set", "/a/_h/x", 5), event("create", "/ab", 6),
		event("update", "/a/b", 7), event("delete", "/a", 9), event("set", "/a/b/c", 10),
	)
	j.add(mustTree(t, `{"action":"expire","node":{"key":"/ab","modifiedIndex":8}}`), false) // late
	j.add(mustTree(t, `{"action":"update","node":{"key":"/a/b/c","modifiedIndex":11}}`), true)
	for _, tc := range []struct {
		name string
		w    watching
		want []uint64
	}{
		{"key", watching{key: "/a/b/c", stream: true}, []uint64{4, 9, 10}},
		{"one only", watching{key: "/a/b/c"}, []uint64{4}},
		{"from", watching{key: "/a/b/c", stream: true, from: 5}, []uint64{9, 10}},
		{"directory alone", watching{key: "/a/b", stream: true}, []uint64{7, 9}},
		{"hidden below", watching{key: "/a", recursive: true, stream: true}, []uint64{4, 7, 9, 10}},
		{"hidden itself", watching{key: "/a/_h", recursive: true, stream: true}, []uint64{5, 9}},
		{"prefix of a name", watching{key: "/ab", recursive: true, stream: true}, []uint64{6, 8}},
		{"never there", watching{key: "/a/none", stream: true}, nil},
		{"all", watching{key: "/", recursive: true, stream: true}, []uint64{4, 6, 7, 8, 9, 10}},
		{"the root itself", watching{key: "/", stream: true}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []uint64
			for _, e := range j.seenBy(tc.w) {
				node, _ := e.get("node")
				got = append(got, node.number("modifiedIndex"))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// etcd's defects are excused only if witan sent what the journal says.
func TestExcuseWatch(t *testing.T) {
	set4, set5, hid6, del7 := event("set", "/a", 4), event("set", "/a/b", 5), event("set", "/a/_h", 6), event("delete", "/a", 7)
	all := []string{set4, set5, hid6, del7}
	for _, tc := range []struct {
		name string
		l, r []string
		past bool
		want string
	}{
		{"replay", []string{set4}, []string{set4, set5, del7}, true, "stream-replay"},
		{"replay, one lost", []string{set4}, []string{set4, del7}, true, ""},
		{"replay, but not from the past", []string{set4}, []string{set4, set5, del7}, false, ""},
		{"duplicate", []string{set4, set5, del7, del7}, []string{set4, set5, del7}, false, "no-duplicates"},
		{"duplicate of ours", []string{set4, set5, del7}, []string{set4, set5, del7, del7}, false, ""},
		{"wrong index", []string{set4}, []string{set4, event("set", "/a/b", 6), del7}, true, ""},
		{"etcd lost one", []string{set4, del7}, []string{set4, set5, del7}, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rep := newReport()
			pl := &player{pair: fakePair(1), deviations: deviations(), report: rep}
			pl.pair.journal = journalOf(t, all...)
			w := fakeWatcher(tc.l, tc.r, false, false)
			w.spec.past = tc.past
			if got := pl.excuseWatch(w); got != (tc.want != "") {
				t.Errorf("excused: %t", got)
			}
			if tc.want != "" && rep.deviations[tc.want] != 1 {
				t.Errorf("deviations %v, want %s", rep.deviations, tc.want)
			}
		})
	}
}

func TestSettled(t *testing.T) {
	set4 := []string{event("set", "/a", 4)}
	long := time.Hour
	for _, tc := range []struct {
		name   string
		w      *watcher
		waited time.Duration
		want   bool
	}{
		{"as expected", fakeWatcher(set4, set4, false, false), long, true},
		{"just now", fakeWatcher(set4, set4, false, false), 0, false},
		{"right is behind", fakeWatcher(set4, nil, false, false), long, false},
		{"left is behind", fakeWatcher(nil, set4, false, false), long, false},
		{"both agree on something else", fakeWatcher(nil, nil, false, false), long, true},
	} {
		if got := tc.w.settled(1, tc.waited); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}
