package check_test

import (
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func TestExclusion(t *testing.T) {
	first := check.Hold{Lock: "/l", Holder: 1, Token: 10, TTL: ms(1000), From: ms(110), Kept: ms(500), Tried: ms(520)}
	given := first
	given.Ended = ms(700)
	for name, c := range map[string]struct {
		first check.Hold
		from  int
		drift float64
		want  bool
	}{
		"after it":            {first, 1500, 0, false},
		"within it":           {first, 1499, 0, true},
		"a clock may be fast": {first, 1460, 0.05, false},
		"but not so fast":     {first, 1440, 0.05, true},
		"given back":          {given, 700, 0, false},
		"before that":         {given, 699, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			next := check.Hold{Lock: "/l", Holder: 2, Token: 20, TTL: ms(1000), From: ms(c.from)}
			expect(t, check.Exclusion([]check.Hold{next, c.first}, c.drift), c.want)
		})
	}
}

func TestTakeOvers(t *testing.T) {
	dead := check.Hold{Lock: "/l", Holder: 1, Token: 10, TTL: ms(1000), From: ms(100), Kept: ms(90), Tried: ms(100)}
	polls := func(from, to int) []*history.Op {
		var out []*history.Op
		for at := from; at <= to; at += 100 {
			out = append(out, &history.Op{Key: "/l", Kind: history.Create, Outcome: history.Fail, Code: 105, Return: ms(at)})
		}
		return out
	}
	for name, c := range map[string]struct {
		from int
		ops  []*history.Op
		want bool
	}{
		"in time":          {1600, polls(100, 1600), false},
		"late":             {1700, polls(100, 1700), true},
		"without a leader": {3600, append(polls(100, 1000), polls(3000, 3600)...), false},
		"and late":         {3800, append(polls(100, 1000), polls(3000, 3800)...), true},
	} {
		t.Run(name, func(t *testing.T) {
			next := check.Hold{Lock: "/l", Holder: 2, Token: 20, TTL: ms(1000), From: ms(c.from)}
			took, found := check.TakeOvers([]check.Hold{dead, next}, c.ops, 0, ms(500))
			if len(took) != 1 {
				t.Fatalf("%d take-overs", len(took))
			}
			expect(t, found, c.want)
		})
	}
}

func TestFences(t *testing.T) {
	writes := []check.Fenced{{"/l", 1, 10}, {"/m", 3, 5}, {"/l", 1, 10}, {"/l", 2, 20}}
	expect(t, check.Fences(writes), false)
	expect(t, check.Fences(append(writes, check.Fenced{Lock: "/l", Holder: 1, Token: 10})), true)
}

func TestLocksInTheLog(t *testing.T) {
	at := func(e history.Event, value string) history.Event { e.Value = value; return e }
	good := []history.Event{
		event("create", "/l", "1.1", 10, 0), event("compareAndSwap", "/l", "1.2", 11, 10), event("expire", "/l", "", 12, 11),
		event("create", "/l", "2.1", 13, 0), event("create", "/r", "1.3@10", 14, 0), event("compareAndSwap", "/r", "2.2@13", 15, 14),
	}
	judge := func(events ...history.Event) []check.Violation {
		return check.NewLog(events).Locks([]string{"/l"}, []string{"/r"})
	}
	expect(t, judge(good...), false)
	expect(t, judge(append(good, event("set", "/l", "3.1", 16, 13))...), true)
	expect(t, judge(append(good, event("set", "/r", "1.4@10", 16, 15))...), true)
	expect(t, judge(at(good[4], "none")), true)
}

func TestAppends(t *testing.T) {
	judge := func(values ...string) []check.Violation {
		var events []history.Event
		for i, v := range values {
			events = append(events, event("set", "/list", v, uint64(10+i), 0))
		}
		n, found := check.NewLog(events).Appends(func(string) bool { return true })
		if n != len(values) {
			t.Errorf("%d elements of %d", n, len(values))
		}
		return found
	}
	expect(t, judge("a", "a,b", "a,b,c"), false)
	expect(t, judge("a", "a,b", "a,c"), true)
	expect(t, judge("a", "a,b,c"), true)
	expect(t, judge("a", "a"), true)
}
