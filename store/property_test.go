package store_test

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// TestRandomCommands drives a store and a plain model with the same random
// commands, reads and accidents, and compares everything that can be seen.
func TestRandomCommands(t *testing.T) {
	fewChecks(t, "40")
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		o := store.Options{
			Groups:        rapid.SampledFrom([]int{1, 4}).Draw(rt, "groups"),
			FirstIndex:    3,
			History:       rapid.SampledFrom([]int{1, 7, 40, 100_000}).Draw(rt, "history"),
			FlushInterval: rapid.SampledFrom([]time.Duration{time.Millisecond, never}).Draw(rt, "flush"),
		}
		o.Group = rapid.IntRange(0, o.Groups-1).Draw(rt, "group")
		p := &pair{
			t: rt,
			r: newReplica(rt, root, o),
			m: newModel(o.Group, o.Groups, o.FirstIndex),
		}
		defer func() { p.r.remove() }()
		rt.Repeat(map[string]func(*rapid.T){
			"":         p.check,
			"command":  p.command,
			"command2": p.command,
			"command3": p.command,
			"remove":   p.removal,
			"repeat":   p.repeat,
			"advance":  p.advance,
			"get":      p.get,
			"events":   p.events,
			"past":     p.past,
			"flush":    func(*rapid.T) { p.r.must(p.r.Flush()) },
			"accident": p.accident,
		})
	})
}

// fewChecks tells rapid how often to try in this test when nobody has said so.
// Opening databases takes most of the time; ask for more with -rapid.checks.
func fewChecks(t *testing.T, n string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	set := func(n string) {
		if err := f.Value.Set(n); err != nil {
			t.Fatal(err)
		}
	}
	set(n)
	t.Cleanup(func() { set(f.DefValue) })
}

// pair is a store and the model it must equal.
type pair struct {
	t   *rapid.T
	r   *replica
	m   *model
	seq uint64
}

var keyGen = rapid.Custom(func(t *rapid.T) store.Key {
	names := rapid.SampledFrom([]string{"a", "b", "ab", "_h", "c-d"})
	k := store.Key{}
	for range rapid.SampledFrom([]int{1, 1, 2, 2, 2, 3, 3, 0}).Draw(t, "depth") {
		k = k.Child(names.Draw(t, "name"))
	}
	return k
})

// Long values make what is written in one go fall into pieces.
var valueGen = rapid.SampledFrom([]string{
	"", "x", "y", "long value that repeats itself", "\x00\xff", strings.Repeat("many", 2000), strings.Repeat("large", 7000),
})

func (p *pair) same(what string, got, want any) {
	if diff := sameEvents(want, got); diff != "" {
		p.t.Fatalf("%s (-model +store):\n%s", what, diff)
	}
}

func (p *pair) apply(c store.Command) {
	got, want := p.r.apply(c), p.m.apply(c)
	if oldest, _ := p.kept(); want.Repeat && want.Event != nil && want.Event.Index < oldest {
		want.Event = nil // no longer known
	}
	p.same("result", got, want)
	for _, e := range append(got.Expired, got.Event) {
		if e != nil && !got.Repeat {
			p.removed(e)
		}
	}
}

// removed compares what an event says it took away.
func (p *pair) removed(e *store.Event) {
	gone := map[string]bool{}
	for _, path := range p.m.gone[e.Index] {
		gone[path] = true
		if !e.Removed(store.ParseKey(path)) {
			p.t.Fatalf("event %d removed %s and does not say so", e.Index, path)
		}
	}
	for _, path := range []string{"/a", "/a/b", "/a/b/c-d", "/ab/_h", "/zz"} {
		if k := store.ParseKey(path); e.Removed(k) != gone[path] {
			p.t.Fatalf("event %d: removed %s: %v", e.Index, path, e.Removed(k))
		}
	}
}

func (p *pair) command(t *rapid.T) {
	p.apply(p.draw(t, rapid.SampledFrom([]store.Op{
		store.OpSet, store.OpSet, store.OpCreate, store.OpCreateInOrder, store.OpUpdate,
		store.OpCompareAndSwap, store.OpTick,
	}).Draw(t, "op")))
}

func (p *pair) removal(t *rapid.T) {
	p.apply(p.draw(t, rapid.SampledFrom([]store.Op{store.OpDelete, store.OpCompareAndDelete}).Draw(t, "op")))
}

func (p *pair) draw(t *rapid.T, op store.Op) store.Command {
	c := store.Command{Op: op}
	if rapid.IntRange(0, 9).Draw(t, "floor") == 0 {
		c.Floor = p.m.frontier + rapid.Uint64Range(0, 20).Draw(t, "ahead")
	}
	if op == store.OpTick {
		return c
	}
	c.Key = keyGen.Draw(t, "key")
	c.Value = valueGen.Draw(t, "value")
	c.Dir = rapid.IntRange(0, 4).Draw(t, "dir") == 0
	c.Recursive = rapid.Bool().Draw(t, "recursive")
	c.Refresh = rapid.IntRange(0, 4).Draw(t, "refresh") == 0
	if rapid.IntRange(0, 2).Draw(t, "timed") == 0 {
		c.HasTTL, c.TTL = true, rapid.Int64Range(0, 3).Draw(t, "ttl")
		c.Expiration = rapid.Int64Range(-5, 1<<60).Draw(t, "expiration")
	}
	if op == store.OpCompareAndSwap || op == store.OpCompareAndDelete {
		p.condition(t, &c)
	}
	return c
}

// condition makes comparisons that hold about half of the time.
func (p *pair) condition(t *rapid.T, c *store.Command) {
	n := p.m.nodes[c.Key.String()]
	if rapid.Bool().Draw(t, "by value") {
		c.PrevValue = n.value
	} else {
		c.PrevIndex = n.modified
	}
	if rapid.IntRange(0, 2).Draw(t, "wrong") == 0 {
		c.PrevValue, c.PrevIndex = valueGen.Draw(t, "prevValue"), rapid.Uint64Range(0, 30).Draw(t, "prevIndex")
	}
}

// repeat proposes something twice, some commands apart.
func (p *pair) repeat(t *rapid.T) {
	c := p.draw(t, store.OpSet)
	p.seq++
	c.Origin, c.Boot, c.Seq, c.Settled = 42, 1, p.seq, p.seq-1
	p.apply(c)
	p.command(t)
	p.apply(c)
}

func (p *pair) advance(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "ticks") {
		c := store.Command{Op: store.OpAdvance, Clock: p.m.clock, Step: int64(store.Tick)}
		if rapid.IntRange(0, 4).Draw(t, "odd") == 0 {
			c.Clock += rapid.Int64Range(0, 1).Draw(t, "late")
			c.Step = rapid.Int64Range(0, 2*int64(store.Tick)).Draw(t, "step")
		}
		p.apply(c)
	}
}

// kept returns the first index of the history by the model.
func (p *pair) kept() (oldest uint64, dropped bool) {
	events := p.m.events
	if len(events) > p.r.opt.History {
		return events[len(events)-p.r.opt.History].Index, true
	}
	if len(events) > 0 {
		return events[0].Index, false
	}
	return 0, false
}

func (p *pair) get(t *rapid.T) {
	k, recursive := keyGen.Draw(t, "key"), rapid.Bool().Draw(t, "recursive")
	e, position, refused := p.r.Get(k, recursive)
	p.compareGet(k, recursive, p.m.frontier, e, refused)
	if position != (store.Position{Index: p.m.frontier, RaftIndex: uint64(len(p.r.log))}) {
		t.Fatalf("position %+v", position)
	}
	oldest, dropped := p.kept()
	first := p.r.opt.FirstIndex
	if dropped {
		first = oldest - 1
	}
	at := rapid.Uint64Range(first, p.m.frontier).Draw(t, "at")
	e, refused = p.r.GetAt(k, recursive, at)
	p.compareGet(k, recursive, at, e, refused)
	if dropped && first > 0 {
		if _, refused := p.r.GetAt(k, recursive, first-1); refused == nil || refused.Code != store.CodeEventIndexCleared {
			t.Fatalf("reading at %d, before %d: %v", first-1, first, refused)
		}
	}
}

func (p *pair) compareGet(k store.Key, recursive bool, at uint64, e *store.Event, refused *store.Error) {
	node, wantErr := p.m.get(k.String(), recursive, at)
	p.same("get error", refused, wantErr)
	if wantErr == nil {
		p.same("get", e, &store.Event{Action: store.ActionGet, Node: node, Index: at})
	}
}

func (p *pair) events(t *rapid.T) {
	oldest, dropped := p.kept()
	from := rapid.Uint64Range(0, p.m.frontier+2).Draw(t, "from")
	to := rapid.Uint64Range(from, p.m.frontier+2).Draw(t, "to")
	max := rapid.IntRange(1, 20).Draw(t, "max")
	got, err := p.r.Events(from, to, max)
	if dropped && from < oldest {
		var e *store.Error
		if !errors.As(err, &e) || e.Code != store.CodeEventIndexCleared || e.Index != p.m.frontier {
			t.Fatalf("events from %d, oldest %d: %v", from, oldest, err)
		}
		return
	}
	p.r.must(err)
	var want []*store.Event
	for _, e := range p.m.events {
		if e.Index >= from && e.Index <= to && len(want) < max {
			want = append(want, e)
		}
	}
	p.same("events", got, want)
	for _, e := range got {
		p.removed(e)
	}
}

// past compares the tree at every index that is kept, and every event.
func (p *pair) past(t *rapid.T) {
	oldest, dropped := p.kept()
	first := p.r.opt.FirstIndex
	if dropped {
		first = oldest - 1
	}
	for at := first; at <= p.m.frontier; at++ {
		e, refused := p.r.GetAt(store.Key{}, true, at)
		p.compareGet(store.Key{}, true, at, e, refused)
		k := keyGen.Draw(t, "key")
		e, refused = p.r.GetAt(k, false, at)
		p.compareGet(k, false, at, e, refused)
	}
	got, err := p.r.Events(oldest, p.m.frontier, 1<<30)
	p.r.must(err)
	p.same("all events", got, p.m.events[max(0, len(p.m.events)-p.r.opt.History):])
}

// accident does what must make no difference.
func (p *pair) accident(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "luck") > 0 {
		return // opening databases is what takes the time
	}
	raft, index, hash := p.r.Digest()
	switch rapid.SampledFrom([]string{"reopen", "crash", "move", "power cut", "power cut"}).Draw(t, "kind") {
	case "reopen":
		p.r.reopen()
	case "crash":
		p.r.crash()
	case "move":
		p.r.move()
	case "power cut":
		luck := rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "of 3 entries lost")
		p.r.pause = func() bool { return rapid.IntRange(0, 4).Draw(t, "pause") == 0 }
		p.r.tear(func() bool { return rapid.IntRange(1, 3).Draw(t, "entry") > luck })
		p.r.pause = nil
	}
	if r, i, h := p.r.Digest(); r != raft || i != index || h != hash {
		t.Fatalf("digest was %d %d %x, is %d %d %x", raft, index, hash, r, i, h)
	}
}

// check holds after every step.
func (p *pair) check(t *rapid.T) {
	if got := p.r.Frontier(); got != p.m.frontier {
		t.Fatalf("frontier %d, model %d", got, p.m.frontier)
	}
	now, keys := p.r.Clock()
	if now != p.m.clock || keys != p.m.timed() {
		t.Fatalf("clock %d with %d keys, model %d with %d", now, keys, p.m.clock, p.m.timed())
	}
	if p.r.Applied() > uint64(len(p.r.log)) {
		t.Fatalf("applied %d of %d", p.r.Applied(), len(p.r.log))
	}
	root, _, refused := p.r.Get(store.Key{}, true)
	if refused != nil {
		t.Fatalf("%v", refused)
	}
	want, _ := p.m.get("/", true, p.m.frontier)
	if diff := cmp.Diff(want, root.Node, cmp.AllowUnexported(store.Key{})); diff != "" {
		t.Fatalf("tree (-model +store):\n%s", diff)
	}
}
