package watch

import (
	"errors"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/store"
)

// group is a store and its hub, put together as a replica does.
type group struct {
	t   testing.TB
	st  *store.Store
	hub *Hub
	raf uint64
}

func newGroup(t testing.TB, events, tailBytes int) *group {
	t.Helper()
	st, err := store.Open(store.Options{
		Dir: t.TempDir(), Groups: 1, FirstIndex: 3, History: events, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return &group{t: t, st: st, hub: NewHub(st, st.Frontier(), tailBytes)}
}

// does applies a command and publishes what it did.
func (g *group) does(op store.Op, key string, recursive bool) {
	g.t.Helper()
	g.raf++
	r := g.st.Apply(g.raf, &store.Command{Op: op, Key: store.ParseKey(key), Dir: recursive, Recursive: recursive})
	if r.Err != nil || r.Failure != nil {
		g.t.Fatal(r.Err, r.Failure)
	}
	g.hub.Publish(r.Index, r.Event)
}

// TestWithAStore has the history of a real store tell the same as live events,
// removals above all (contract §2.2).
func TestWithAStore(t *testing.T) {
	g := newGroup(t, 0, 1)
	reqs := map[string]Request{}
	for _, key := range []string{"/", "/a", "/a/b", "/a/b/c", "/a/_h/x", "/a/gone", "/ab"} {
		for _, deep := range []bool{false, true} {
			name := key
			if deep {
				name += " and below"
			}
			reqs[name] = Request{Key: store.ParseKey(key), Recursive: deep, Stream: true}
		}
	}
	live := map[string]*Watcher{}
	for name, req := range reqs {
		w, err := g.hub.Watch(req)
		if err != nil {
			t.Fatal(err)
		}
		live[name] = w
	}
	g.does(store.OpSet, "/a/b/c", false)  // 4
	g.does(store.OpSet, "/a/_h/x", false) // 5
	g.does(store.OpSet, "/a/gone", false) // 6
	g.does(store.OpDelete, "/a/gone", false)
	g.does(store.OpSet, "/ab", false)    // 8
	g.does(store.OpDelete, "/a", true)   // 9
	g.does(store.OpSet, "/a/b/c", false) // 10

	want := map[string][]uint64{
		"/": nil, "/ and below": {4, 6, 7, 8, 9, 10},
		"/a": {9}, "/a and below": {4, 6, 7, 9, 10},
		"/a/b": {9}, "/a/b and below": {4, 9, 10},
		"/a/b/c": {4, 9, 10}, "/a/b/c and below": {4, 9, 10},
		"/a/_h/x": {5, 9}, "/a/_h/x and below": {5, 9},
		"/a/gone": {6, 7}, "/a/gone and below": {6, 7},
		"/ab": {8}, "/ab and below": {8},
	}
	for name, req := range reqs {
		req.From = 1
		back, err := g.hub.Watch(req)
		if err != nil {
			t.Fatal(err)
		}
		for way, w := range map[string]*Watcher{"live": live[name], "looking back": back} {
			if got, ended := drain(t, w); !slices.Equal(got, want[name]) || ended {
				t.Errorf("%s of %s: got %v, ended %v; want %v", way, name, got, ended, want[name])
			}
		}
	}
}

func TestClearedByAStore(t *testing.T) {
	g := newGroup(t, 10, 1<<20)
	for range 30 {
		g.does(store.OpSet, "/a", false) // 4 to 33
	}
	_, err := g.hub.Watch(Request{Key: store.ParseKey("/a"), From: 23})
	var e *store.Error
	if !errors.As(err, &e) || e.Cause != "the requested history has been cleared [24/23]" || e.Index != 33 {
		t.Errorf("watch from below the history: %v", err)
	}
	w, err := g.hub.Watch(Request{Key: store.ParseKey("/a"), From: 24})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w, true, 24)
}

// BenchmarkLookBack is a long poll from a short while ago, as after a busy
// moment: the store is asked whether it still has the index, the tail gives the
// event.
func BenchmarkLookBack(b *testing.B) {
	g := newGroup(b, 0, 16<<20)
	for range 1000 {
		g.does(store.OpSet, "/a", false)
	}
	for _, way := range []string{"tail", "store"} {
		b.Run(way, func(b *testing.B) {
			if way == "store" {
				g.hub.Skip(g.hub.Last() + 1)
			}
			b.ReportAllocs()
			for range b.N {
				w := watchOrFail(b, g.hub, Request{Key: store.ParseKey("/a"), From: 990})
				if _, err := w.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
