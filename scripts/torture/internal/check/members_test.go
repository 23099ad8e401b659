package check_test

import (
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func ids(s string) []string { return strings.Fields(s) }

func TestViews(t *testing.T) {
	states := []check.Membership{{0, ids("a b c")}, {ms(100), ids("a b c d")}, {ms(200), ids("a b d")}, {ms(400), ids("a b d e")}, {ms(500), ids("a b d")}}
	for name, c := range map[string]struct {
		views []check.View
		want  bool
	}{
		"each in turn":            {[]check.View{{"m0", ms(1), ids("a b c")}, {"m0", ms(101), ids("a b c d")}, {"m0", ms(300), ids("a b d")}}, false},
		"one misses one":          {[]check.View{{"m0", ms(1), ids("a b c")}, {"m0", ms(300), ids("a b d")}}, false},
		"one lags behind another": {[]check.View{{"m0", ms(300), ids("a b d")}, {"m1", ms(301), ids("a b c")}}, false},
		"half a change":           {[]check.View{{"m0", ms(250), ids("a b")}}, true},
		"too early":               {[]check.View{{"m0", ms(99), ids("a b c d")}}, true},
		"a removed id comes back": {[]check.View{{"m0", ms(300), ids("a b d")}, {"m0", ms(301), ids("a b c d")}}, true},
		"restarted, still behind": {[]check.View{{"m0#1", ms(300), ids("a b d")}, {"m0#2", ms(301), ids("a b c d")}}, false},
		"wanted twice":            {[]check.View{{"m0", ms(300), ids("a b d")}, {"m0", ms(401), ids("a b d e")}, {"m0", ms(501), ids("a b d")}}, false},
		"wanted twice, too early": {[]check.View{{"m0", ms(300), ids("a b d")}, {"m0", ms(401), ids("a b d e")}, {"m0", ms(450), ids("a b d")}}, true},
		"nobody":                  {[]check.View{{"m0", ms(300), nil}}, true},
	} {
		t.Run(name, func(t *testing.T) { expect(t, check.Views(c.views, states), c.want) })
	}
}

func TestLists(t *testing.T) {
	a := check.Entry{ID: "a", Name: "m0", Peers: ids("http://p0"), Clients: ids("http://c0")}
	b := check.Entry{ID: "b", Name: "m1", Peers: ids("http://p1"), Clients: ids("http://c1")}
	moved, unstarted := b, b
	moved.Peers = ids("http://p9")
	unstarted.Name, unstarted.Clients = "", nil
	want := []check.Entry{a, b}
	for name, c := range map[string]struct {
		list []check.Entry
		want bool
	}{
		"as wanted":     {[]check.Entry{a, b}, false},
		"one missing":   {[]check.Entry{a}, true},
		"one too many":  {[]check.Entry{a, b, b}, true},
		"elsewhere":     {[]check.Entry{a, moved}, true},
		"not started":   {[]check.Entry{a, unstarted}, true},
		"another order": {[]check.Entry{b, a}, true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.Lists(map[string][]check.Entry{"m0": want, "m1": c.list}, want), c.want)
		})
	}
}

func TestHeld(t *testing.T) {
	for name, c := range map[string]struct {
		voters string
		want   bool
	}{
		"as wanted":    {"a b c", false},
		"one too few":  {"a b", true},
		"one too many": {"a b c d", true},
		"another":      {"a b d", true},
	} {
		t.Run(name, func(t *testing.T) {
			shown := []check.Replicas{{Asked: "m0", Group: "0", Voters: ids("a b c")}, {Asked: "m0", Group: "1", Voters: ids(c.voters)}}
			expect(t, check.Held(shown, ids("a b c")), c.want)
		})
	}
}

func TestApart(t *testing.T) {
	steps := func(kindsAndMembers ...string) []check.Step {
		var out []check.Step
		for i, s := range kindsAndMembers {
			kind, member, _ := strings.Cut(s, ":")
			out = append(out, check.Step{At: time.Unix(int64(i), 0), Kind: kind, Member: member})
		}
		return out
	}
	for name, c := range map[string]struct {
		steps []check.Step
		want  bool
	}{
		"one after another":      {steps("add learner:x", "add learner:x", "reached:x", "remove:y", "remove:y"), false},
		"promoted meanwhile":     {steps("add learner:x", "add learner:x", "remove:y", "promote:x", "remove:y"), false},
		"came and went":          {steps("add learner:x", "add learner:x", "remove:x", "remove:x"), false},
		"mixed":                  {steps("add learner:x", "remove:y", "add learner:x"), true},
		"mixed with a second":    {steps("add learner:x", "add learner:z", "add learner:x"), true},
		"half, another, a third": {steps("remove:x", "remove:y", "remove:z"), false},
	} {
		t.Run(name, func(t *testing.T) { expect(t, check.Apart(c.steps), c.want) })
	}
	mixed := steps("add learner:x", "remove:y", "add learner:x")
	mixed[1], mixed[2] = mixed[2], mixed[1] // logged elsewhere: only the times count
	expect(t, check.Apart(mixed), true)
}

func TestBalanced(t *testing.T) {
	for name, c := range map[string]struct {
		leaders, members string
		want             bool
	}{
		"even":           {"a b c", "a b c", true},
		"one more":       {"a b c a", "a b c", true},
		"two more":       {"a b a c a", "a b c", false},
		"one has none":   {"a b a b", "a b c", false},
		"fewer groups":   {"a b", "a b c", true},
		"a stranger":     {"a b x", "a b c", false},
		"none is chosen": {"0 b c", "a b c", false},
	} {
		t.Run(name, func(t *testing.T) {
			if text, ok := check.Balanced(ids(c.leaders), ids(c.members)); ok != c.want {
				t.Errorf("%s is %t", text, ok)
			}
		})
	}
}

func TestWidestGap(t *testing.T) {
	acks := []time.Duration{ms(10), ms(20), ms(500), ms(510), ms(600)}
	for name, c := range map[string]struct {
		from, to int
		want     int
	}{
		"inside":         {0, 600, 480},
		"at the begin":   {100, 600, 400},
		"at the end":     {505, 2000, 1400},
		"none at all":    {700, 900, 200},
		"between others": {5, 20, 10},
	} {
		t.Run(name, func(t *testing.T) {
			if got := check.WidestGap(acks, ms(c.from), ms(c.to)); got != ms(c.want) {
				t.Errorf("got %v, want %v", got, ms(c.want))
			}
		})
	}
}

// TestSequencesOfMembersThatComeAndGo: a watcher answers for what lies between its first question and its last.
func TestSequencesOfMembersThatComeAndGo(t *testing.T) {
	tell := func(indexes ...uint64) []history.Event {
		var out []history.Event
		for _, i := range indexes {
			out = append(out, event("set", "/a", "1", i, 0))
		}
		return out
	}
	whole := check.Sequence{Watcher: "whole", Events: tell(1, 2, 3, 4, 5)}
	for name, c := range map[string]struct {
		other check.Sequence
		want  bool
	}{
		"came later":       {check.Sequence{Events: tell(3, 4, 5), From: 3}, false},
		"went earlier":     {check.Sequence{Events: tell(1, 2, 3), Until: 3}, false},
		"was told nothing": {check.Sequence{Until: 1, From: 2}, false},
		"missed the first": {check.Sequence{Events: tell(4, 5), From: 3}, true},
		"missed one":       {check.Sequence{Events: tell(1, 3), Until: 3}, true},
		"missed the last":  {check.Sequence{Events: tell(3, 4), From: 3}, true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.Sequences([]check.Sequence{whole, c.other}, 5), c.want)
		})
	}
}
