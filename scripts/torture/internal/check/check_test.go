package check_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// ms is a time of the run.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// op is a write that was acknowledged with an index.
func op(kind history.Kind, key, value string, index uint64, call, ret int) *history.Op {
	return &history.Op{Kind: kind, Key: key, Value: value, Index: index, Header: index, Outcome: history.OK, Call: ms(call), Return: ms(ret)}
}

// with changes an operation, to make a case from another.
func with(o *history.Op, change func(*history.Op)) *history.Op {
	c := *o
	change(&c)
	return &c
}

func unsure(o *history.Op) *history.Op {
	return with(o, func(o *history.Op) { o.Outcome, o.Return, o.Index, o.Header = history.Unknown, history.Never, 0, 0 })
}

func failed(o *history.Op, code int) *history.Op {
	return with(o, func(o *history.Op) { o.Outcome, o.Code, o.Index = history.Fail, code, 0 })
}

func event(action, key, value string, index, prev uint64) history.Event {
	return history.Event{Action: action, Key: key, Value: value, Index: index, PrevIndex: prev}
}

func listing(index uint64, nodes ...history.Node) history.Listing {
	l := history.Listing{From: "m0", Index: index, At: ms(1000), Nodes: map[string]history.Node{}}
	for _, n := range nodes {
		l.Nodes[n.Key] = n
	}
	return l
}

func all(string) bool { return true }

// expect fails unless violations were found exactly when they should be.
func expect(t *testing.T, found []check.Violation, want bool) {
	t.Helper()
	if (len(found) > 0) != want {
		t.Errorf("violations wanted: %t, found: %v", want, found)
	}
}

func TestUnique(t *testing.T) {
	a, b := op(history.Set, "/a", "1", 5, 0, 1), op(history.Set, "/b", "2", 6, 0, 1)
	expect(t, check.Unique([]*history.Op{a, b}), false)
	expect(t, check.Unique([]*history.Op{a, op(history.Set, "/b", "2", 5, 0, 1)}), true)
	expect(t, check.Unique([]*history.Op{op(history.Set, "/b", "2", 0, 0, 1)}), true)
}

func TestRealTime(t *testing.T) {
	first := op(history.Set, "/a/1", "1", 10, 0, 5)
	read := with(op(history.QuorumGet, "/a/1", "1", 10, 6, 7), func(o *history.Op) { o.Header = 10 })
	for name, c := range map[string]struct {
		second *history.Op
		order  check.Order
		want   bool
	}{
		"grows":                        {op(history.Set, "/b/1", "2", 11, 6, 7), check.Whole, false},
		"goes back":                    {op(history.Set, "/b/1", "2", 9, 6, 7), check.Whole, true},
		"goes back while they overlap": {op(history.Set, "/b/1", "2", 9, 4, 7), check.Whole, false},
		"elsewhere":                    {op(history.Set, "/b/1", "2", 9, 6, 7), check.BySegment, false},
		"same directory":               {op(history.Set, "/a/2", "2", 9, 6, 7), check.BySegment, true},
		"unknown but resolved":         {with(unsure(op(history.Set, "/a/2", "2", 0, 6, 7)), func(o *history.Op) { o.Index = 9 }), check.Whole, true},
		"read":                         {read, check.Whole, false},
		"stale read":                   {with(read, func(o *history.Op) { o.Header = 9 }), check.Whole, true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.RealTime([]*history.Op{c.second, first}, c.order), c.want)
		})
	}
}

func TestInOrderNames(t *testing.T) {
	post := func(index uint64, call, ret int) *history.Op {
		return op(history.Post, fmt.Sprintf("/q/%020d", index), fmt.Sprint(index), index, call, ret)
	}
	expect(t, check.InOrderNames([]*history.Op{post(5, 0, 1), post(7, 2, 3)}, check.BySegment), false)
	expect(t, check.InOrderNames([]*history.Op{post(7, 0, 1), post(5, 2, 3)}, check.BySegment), true)
	expect(t, check.InOrderNames([]*history.Op{post(7, 0, 3), post(5, 2, 4)}, check.BySegment), false)
	expect(t, check.InOrderNames([]*history.Op{op(history.Post, "/q/00000000000000000005", "x", 6, 0, 1)}, check.Whole), true)
	first, second := op(history.Post, "/00000000000000000007", "1", 7, 0, 1), op(history.Post, "/00000000000000000005", "2", 5, 2, 3)
	expect(t, check.InOrderNames([]*history.Op{first, second}, check.Whole), true)
	expect(t, check.InOrderNames([]*history.Op{first, second}, check.BySegment), true)
	second.Member = 1
	expect(t, check.InOrderNames([]*history.Op{first, second}, check.BySegment), false)
}

func TestConnections(t *testing.T) {
	a, b := op(history.Set, "/a", "1", 10, 0, 1), op(history.Set, "/b", "2", 9, 2, 3)
	expect(t, check.Connections([]*history.Op{a, b}, check.Whole), true)
	expect(t, check.Connections([]*history.Op{a, b}, check.BySegment), false)
	expect(t, check.Connections([]*history.Op{a, with(b, func(o *history.Op) { o.Conn = 1 })}, check.Whole), false)
}

func TestOwnWrites(t *testing.T) {
	get := history.Op{Kind: history.Get, Key: "/a", Outcome: history.OK, AtLeast: 10, Found: true, Index: 10, Header: 10}
	expect(t, check.OwnWrites([]*history.Op{&get}), false)
	expect(t, check.OwnWrites([]*history.Op{with(&get, func(o *history.Op) { o.Index = 9 })}), true)
	expect(t, check.OwnWrites([]*history.Op{with(&get, func(o *history.Op) { o.Found, o.Index, o.Header = false, 0, 12 })}), false)
	expect(t, check.OwnWrites([]*history.Op{with(&get, func(o *history.Op) { o.Found, o.Index, o.Header = false, 0, 9 })}), true)
	expect(t, check.OwnWrites([]*history.Op{{Kind: history.Get, Key: "/a", Outcome: history.Fail, AtLeast: 10}}), false) // never sent
}

func TestDurable(t *testing.T) {
	set := op(history.Set, "/a", "1", 10, 0, 1)
	del := op(history.Delete, "/a", "", 11, 2, 3)
	there := history.Node{Key: "/a", Value: "1", Index: 10}
	for name, c := range map[string]struct {
		ops   []*history.Op
		final history.Listing
		want  bool
	}{
		"there":                       {[]*history.Op{set}, listing(10, there), false},
		"gone":                        {[]*history.Op{set}, listing(10), true},
		"another value":               {[]*history.Op{set}, listing(10, history.Node{Key: "/a", Value: "2", Index: 10}), true},
		"an older version":            {[]*history.Op{set, op(history.Set, "/a", "2", 12, 4, 5)}, listing(12, there), true},
		"deleted":                     {[]*history.Op{set, del}, listing(11), false},
		"deleted and back":            {[]*history.Op{set, del}, listing(11, there), true},
		"perhaps deleted":             {[]*history.Op{set, unsure(del)}, listing(11), false},
		"perhaps overwritten":         {[]*history.Op{set, unsure(op(history.Set, "/a", "2", 0, 2, 3))}, listing(11, history.Node{Key: "/a", Value: "2", Index: 11}), false},
		"overwritten by nobody":       {[]*history.Op{set}, listing(11, history.Node{Key: "/a", Value: "9", Index: 11}), true},
		"a failed write took effect":  {[]*history.Op{set, failed(op(history.CAS, "/a", "2", 0, 2, 3), 101)}, listing(11, history.Node{Key: "/a", Value: "2", Index: 11}), true},
		"a key nobody wrote":          {[]*history.Op{set}, listing(11, there, history.Node{Key: "/b", Value: "2", Index: 11}), true},
		"a POST whose answer is lost": {[]*history.Op{set, unsure(op(history.Post, "/q", "p", 0, 2, 3))}, listing(11, there, history.Node{Key: "/q/7", Value: "p", Index: 11}), false},
		"written after the listing":   {[]*history.Op{op(history.Set, "/a", "1", 10, 2000, 2001)}, listing(9), false},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.Durable(c.ops, c.final, all), c.want)
		})
	}
}

func TestLogWrites(t *testing.T) {
	set := op(history.Set, "/a", "1", 10, 0, 1)
	end := op(history.Set, "/end", "z", 20, 8, 9)
	last := event("set", "/end", "z", 20, 0)
	told := event("set", "/a", "1", 10, 0)
	for name, c := range map[string]struct {
		ops    []*history.Op
		events []history.Event
		want   bool
	}{
		"complete":               {[]*history.Op{set, end}, []history.Event{told, last}, false},
		"missing":                {[]*history.Op{set, end}, []history.Event{last}, true},
		"another key":            {[]*history.Op{set, end}, []history.Event{event("set", "/b", "1", 10, 0), last}, true},
		"another action":         {[]*history.Op{set, end}, []history.Event{event("delete", "/a", "", 10, 0), last}, true},
		"from nowhere":           {[]*history.Op{set, end}, []history.Event{told, event("set", "/a", "2", 11, 10), last}, true},
		"timed out and happened": {[]*history.Op{unsure(set), end}, []history.Event{told, last}, false},
		"timed out and not":      {[]*history.Op{unsure(set), end}, []history.Event{last}, false},
		"timed out and twice":    {[]*history.Op{unsure(set), end}, []history.Event{told, event("set", "/a", "1", 12, 10), last}, true},
		"failed and happened":    {[]*history.Op{failed(set, 101), end}, []history.Event{told, last}, true},
		"delete timed out":       {[]*history.Op{set, unsure(op(history.Delete, "/a", "", 0, 2, 3)), end}, []history.Event{told, event("delete", "/a", "", 11, 10), last}, false},
		"deleted by nobody":      {[]*history.Op{set, end}, []history.Event{told, event("delete", "/a", "", 11, 10), last}, true},
	} {
		t.Run(name, func(t *testing.T) {
			log := check.NewLog(c.events)
			expect(t, log.Writes(log.Resolve(c.ops)), c.want)
		})
	}
}

func TestChains(t *testing.T) {
	good := []history.Event{event("set", "/a", "1", 10, 0), event("compareAndSwap", "/a", "2", 12, 10), event("delete", "/a", "", 13, 12), event("create", "/a", "3", 14, 0)}
	good[1].PrevValue = "1"
	swap := with(op(history.CAS, "/a", "2", 12, 2, 3), func(o *history.Op) { o.PrevValue, o.ByIndex = "1", 10 })
	expect(t, check.NewLog(good).Chains([]*history.Op{swap}), false)
	expect(t, check.NewLog(good).Chains([]*history.Op{with(swap, func(o *history.Op) { o.ByIndex = 9 })}), true)
	expect(t, check.NewLog(good).Chains([]*history.Op{with(swap, func(o *history.Op) { o.PrevValue, o.ByIndex = "0", 0 })}), true)
	skipped := slices.Delete(slices.Clone(good), 1, 2)
	expect(t, check.NewLog(skipped).Chains(nil), true)
}

func TestQuorumReads(t *testing.T) {
	events := []history.Event{event("set", "/a", "1", 10, 0), event("set", "/a", "2", 12, 10), event("delete", "/a", "", 14, 12), event("set", "/end", "z", 20, 0)}
	writes := []*history.Op{op(history.Set, "/a", "1", 10, 0, 1), op(history.Set, "/a", "2", 12, 2, 6), op(history.Delete, "/a", "", 14, 8, 9)}
	read := func(index, header uint64, call, ret int) *history.Op {
		return &history.Op{Kind: history.QuorumGet, Key: "/a", Outcome: history.OK, Found: index > 0, Index: index, Header: header, Call: ms(call), Return: ms(ret)}
	}
	for name, c := range map[string]struct {
		read *history.Op
		want bool
	}{
		"before the second write ended":   {read(10, 11, 3, 5), false},
		"the second write while it runs":  {read(12, 12, 3, 5), false},
		"the first after the second":      {read(10, 12, 7, 8), true},
		"absent before it was deleted":    {read(0, 12, 7, 8), true},
		"absent":                          {read(0, 14, 10, 11), false},
		"there after it was deleted":      {read(12, 14, 10, 11), true},
		"an index above what it can know": {read(12, 11, 3, 5), true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.NewLog(events).QuorumReads(append(slices.Clone(writes), c.read), check.Whole), c.want)
		})
	}
}

// TestHappened: only what the log rules out is left out.
func TestHappened(t *testing.T) {
	log := check.NewLog([]history.Event{event("set", "/a", "there", 5, 0)})
	ops := []*history.Op{
		op(history.Set, "/a", "acknowledged", 4, 0, 1),
		unsure(op(history.Set, "/a", "there", 0, 0, 1)),
		unsure(op(history.Set, "/a", "not there", 0, 0, 1)),
		unsure(op(history.Delete, "/a", "", 0, 0, 1)),
		unsure(op(history.QuorumGet, "/a", "", 0, 0, 1)),
	}
	var kept []string
	for _, o := range log.Happened(ops) {
		kept = append(kept, fmt.Sprintf("%s %s", o.Kind, o.Value))
	}
	if want := []string{"set acknowledged", "set there", "delete ", "quorumGet "}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	if len(ops) != 5 || ops[2].Value != "not there" {
		t.Error("the operations given were changed")
	}
}

func TestLogListing(t *testing.T) {
	log := check.NewLog([]history.Event{event("set", "/a", "1", 10, 0), event("set", "/b", "2", 11, 0), event("delete", "/a", "", 12, 10)})
	a, b := history.Node{Key: "/a", Value: "1", Index: 10}, history.Node{Key: "/b", Value: "2", Index: 11}
	expect(t, log.Listing(listing(11, a, b), all), false)
	expect(t, log.Listing(listing(12, b), all), false)
	expect(t, log.Listing(listing(12, a, b), all), true) // a was gone
	expect(t, log.Listing(listing(11, a), all), true)    // b is missing
	expect(t, log.Listing(listing(10, a, b), all), true) // b was not there yet
}

func TestSequences(t *testing.T) {
	e := []history.Event{event("set", "/a", "1", 10, 0), event("set", "/b", "2", 11, 0), event("set", "/c", "3", 12, 0)}
	seq := func(events ...history.Event) check.Sequence { return check.Sequence{Watcher: "w", Events: events} }
	for name, c := range map[string]struct {
		other check.Sequence
		upto  uint64
		want  bool
	}{
		"the same":       {seq(e...), 12, false},
		"one missing":    {seq(e[0], e[2]), 12, true},
		"one twice":      {seq(e[0], e[1], e[1], e[2]), 12, true},
		"swapped":        {seq(e[1], e[0], e[2]), 12, true},
		"too short":      {seq(e[0], e[1]), 12, true},
		"long enough":    {seq(e[0], e[1]), 11, false},
		"another value":  {seq(e[0], event("set", "/b", "9", 11, 0), e[2]), 12, true},
		"nothing at all": {seq(), 12, true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.Sequences([]check.Sequence{seq(e...), c.other}, c.upto), c.want)
		})
	}
}

func TestLinearizable(t *testing.T) {
	get := func(value string, call, ret int) *history.Op {
		return &history.Op{Kind: history.QuorumGet, Key: "/a", Value: value, Found: value != "", Outcome: history.OK, Call: ms(call), Return: ms(ret)}
	}
	set := op(history.Set, "/a", "1", 10, 0, 1)
	over := with(op(history.Set, "/a", "2", 11, 2, 3), func(o *history.Op) { o.PrevSeen = "1" })
	swap := with(op(history.CAS, "/a", "3", 12, 4, 5), func(o *history.Op) { o.PrevValue = "2" })
	for name, c := range map[string]struct {
		ops  []*history.Op
		want bool
	}{
		"in order":                        {[]*history.Op{set, over, swap, get("3", 6, 7)}, false},
		"stale read":                      {[]*history.Op{set, over, get("1", 4, 5)}, true},
		"concurrent read":                 {[]*history.Op{set, over, get("1", 2, 5)}, false},
		"swap of an old value":            {[]*history.Op{set, over, with(swap, func(o *history.Op) { o.PrevValue = "1" })}, true},
		"two swaps of one value":          {[]*history.Op{set, over, swap, with(swap, func(o *history.Op) { o.Value = "4" })}, true},
		"wrong prevNode":                  {[]*history.Op{set, with(over, func(o *history.Op) { o.PrevSeen = "0" })}, true},
		"unknown write seen later":        {[]*history.Op{set, unsure(over), get("1", 4, 5), get("2", 6, 7)}, false},
		"unknown write seen and unseen":   {[]*history.Op{set, unsure(over), get("2", 4, 5), get("1", 6, 7)}, true},
		"compare failed rightly":          {[]*history.Op{set, over, failed(with(swap, func(o *history.Op) { o.PrevValue = "1" }), 101)}, false},
		"compare failed wrongly":          {[]*history.Op{set, over, failed(swap, 101)}, true},
		"created twice":                   {[]*history.Op{op(history.Create, "/a", "1", 10, 0, 1), op(history.Create, "/a", "2", 11, 2, 3)}, true},
		"deleted what was not there":      {[]*history.Op{op(history.Delete, "/a", "", 10, 0, 1)}, true},
		"not found though it was created": {[]*history.Op{set, failed(op(history.Update, "/a", "2", 0, 2, 3), 100)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			found, conclusive := check.Linearizable(c.ops, time.Minute)
			if !conclusive {
				t.Fatal("the search was not finished")
			}
			expect(t, found, c.want)
		})
	}
	plain := with(get("1", 4, 5), func(o *history.Op) { o.Kind = history.Get })
	found, _ := check.Linearizable([]*history.Op{set, over, plain}, time.Minute)
	expect(t, found, false)
}

func TestDigests(t *testing.T) {
	a := check.Digest{Member: "m0", Group: 1, RaftIndex: 7, Hash: "aa"}
	b := a
	b.Member = "m1"
	found, pairs := check.Digests([]check.Digest{a, b})
	expect(t, found, false)
	if pairs != 1 {
		t.Errorf("%d pairs were compared", pairs)
	}
	b.Hash = "bb"
	found, _ = check.Digests([]check.Digest{a, b})
	expect(t, found, true)
	b.RaftIndex = 8
	found, pairs = check.Digests([]check.Digest{a, b})
	expect(t, found, false)
	if pairs != 0 {
		t.Errorf("%d pairs were compared at different positions", pairs)
	}
}

func TestListings(t *testing.T) {
	a := history.Node{Key: "/a", Value: "1", Index: 10}
	same, _ := check.Listings([]history.Listing{listing(10, a), listing(10, a)})
	expect(t, same, false)
	fewer, _ := check.Listings([]history.Listing{listing(10, a), listing(10)})
	expect(t, fewer, true)
	more, _ := check.Listings([]history.Listing{listing(10), listing(10, a)})
	expect(t, more, true)
	apart, pairs := check.Listings([]history.Listing{listing(9), listing(10, a)})
	expect(t, apart, false)
	if pairs != 0 {
		t.Errorf("%d pairs were compared at different indexes", pairs)
	}
}

func TestExpiry(t *testing.T) {
	lease := check.Lease{Key: "/a", TTL: ms(1000), Call: ms(100), Return: ms(110)}
	at := func(n ...int) check.Sequence {
		s := check.Sequence{Watcher: "w"}
		for i, n := range n {
			e := event("expire", "/a", "", uint64(10+i), 0)
			e.At = ms(n)
			s.Events = append(s.Events, e)
		}
		return s
	}
	for name, c := range map[string]struct {
		seen check.Sequence
		want bool
	}{
		"in time": {at(1500), false},
		"early":   {at(1099), true},
		"late":    {at(1611), true},
		"twice":   {at(1200, 1300), true},
		"never":   {at(), true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, check.Expiry([]check.Lease{lease}, c.seen, check.Bounds{Late: ms(500)}), c.want)
		})
	}
}
