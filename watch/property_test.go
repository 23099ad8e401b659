package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// TestAgainstModel plays a random life of a root hub, several groups and their
// watchers, and compares what each watcher is told with a filter over the list
// of all events ever made.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"publish": m.publish,
			"tick":    m.tick,
			"skip":    m.skip,
			"clear":   m.clear,
			"watch":   m.watch,
			"read":    m.read,
			"close":   m.close,
		})
		for _, w := range m.watchers {
			m.check(t, w)
		}
	})
}

type model struct {
	past      *history // every event there is; what lies before its oldest was cleared
	hub       *Hub
	merge     *Merge
	frontiers []uint64
	watchers  []*modelWatcher
}

type modelWatcher struct {
	*Watcher
	next uint64 // index it has been checked up to
	done bool   // has had all it may have
}

func newModel(t *rapid.T) *model {
	groups := rapid.IntRange(1, 3).Draw(t, "groups")
	m := &model{past: &history{page: rapid.IntRange(0, 5).Draw(t, "page")}, frontiers: make([]uint64, groups)}
	for g := range m.frontiers {
		m.frontiers[g] = rapid.Uint64Range(0, 5).Draw(t, "frontier")
		m.record(t, g, 0, m.frontiers[g])
	}
	tail := rapid.SampledFrom([]int{0, 3, 10, 1000}).Draw(t, "events in the tail") * (eventOverhead + 30)
	m.hub = NewHub(m.past, 0, tail)
	m.merge = NewMerge(m.hub, m.frontiers)
	return m
}

// record makes up events of group with indexes above after and at most upTo.
func (m *model) record(t *rapid.T, group int, after, upTo uint64) []*store.Event {
	var events []*store.Event
	n := uint64(len(m.frontiers))
	for i := after + 1; i <= upTo; i++ {
		if i%n == uint64(group) && rapid.IntRange(0, 3).Draw(t, "gap") > 0 {
			events = append(events, drawEvent(t, i))
		}
	}
	m.past.add(events...)
	return events
}

// step moves a group on and returns what it did.
func (m *model) step(t *rapid.T) (group int, frontier uint64, events []*store.Event) {
	group = rapid.IntRange(0, len(m.frontiers)-1).Draw(t, "group")
	before := m.frontiers[group]
	frontier = before + rapid.Uint64Range(0, 12).Draw(t, "step")
	m.frontiers[group] = frontier
	return group, frontier, m.record(t, group, before, frontier)
}

func (m *model) publish(t *rapid.T) {
	g, frontier, events := m.step(t)
	m.merge.Publish(g, frontier, events...)
}

// tick lets every group catch up with the one that is ahead.
func (m *model) tick(*rapid.T) {
	var target uint64
	for _, f := range m.frontiers {
		target = max(target, f)
	}
	for _, g := range m.merge.Lagging(target) {
		m.frontiers[g] = target
		m.merge.Publish(g, target)
	}
}

func (m *model) skip(t *rapid.T) {
	g, frontier, _ := m.step(t)
	m.merge.Skip(g, frontier)
}

func (m *model) clear(t *rapid.T) {
	m.past.clearBelow(rapid.Uint64Range(0, m.hub.Last()).Draw(t, "oldest"))
}

func (m *model) watch(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "watchers") {
		m.watchOnce(t)
	}
}

func (m *model) watchOnce(t *rapid.T) {
	last := m.hub.Last()
	req := Request{
		Key:       store.ParseKey(drawKey(t, 0)),
		Recursive: rapid.Bool().Draw(t, "recursive"),
		Stream:    rapid.Bool().Draw(t, "stream"),
		From:      rapid.Uint64Range(0, last+6).Draw(t, "from"),
	}
	if rapid.Bool().Draw(t, "at the end") {
		req.From = max(last, 3) - 3
	}
	w, err := m.hub.Watch(req)
	if 0 < req.From && req.From <= last && req.From < m.past.oldest {
		var e *store.Error
		if !errors.As(err, &e) || *e != (store.Error{Code: store.CodeEventIndexCleared, Cause: clearedError(m.past.oldest, req.From).Cause, Index: last}) {
			t.Fatalf("watch from %d with oldest %d: %v", req.From, m.past.oldest, err)
		}
		return
	}
	if err != nil || w.Index() != last {
		t.Fatalf("watch: %v, index %d, last %d", err, w.Index(), last)
	}
	next := req.From
	if next == 0 {
		next = last + 1
	}
	m.watchers = append(m.watchers, &modelWatcher{Watcher: w, next: next})
}

func (m *model) read(t *rapid.T) {
	if len(m.watchers) == 0 {
		t.Skip("nobody watches")
	}
	m.check(t, rapid.SampledFrom(m.watchers).Draw(t, "watcher"))
}

func (m *model) close(t *rapid.T) {
	if len(m.watchers) == 0 {
		t.Skip("nobody watches")
	}
	i := rapid.IntRange(0, len(m.watchers)-1).Draw(t, "watcher")
	m.check(t, m.watchers[i])
	m.watchers[i].Close()
	m.watchers = append(m.watchers[:i], m.watchers[i+1:]...)
	if n := m.hub.Watchers(); n > len(m.watchers) {
		t.Fatalf("the hub has %d watchers, the model %d", n, len(m.watchers))
	}
}

// check reads all that w has and compares it with what it should have.
func (m *model) check(t *rapid.T, w *modelWatcher) {
	for {
		want := m.due(w)
		e, err := w.Next(atOnce{context.Background()})
		switch {
		case err != nil && !errors.Is(err, ErrEnded):
			t.Fatalf("%s: %v", w, err)
		case err != nil:
			if !w.done && w.next >= m.past.oldest {
				t.Fatalf("%s: ended without a reason", w)
			}
			w.done = true
			return
		case e == nil:
			if want != nil || w.done {
				t.Fatalf("%s: got nothing, want %s", w, describe(want))
			}
			return
		case want == nil || e != want:
			t.Fatalf("%s: got %s, want %s", w, describe(e), describe(want))
		}
		w.next = e.Index + 1
		w.done = !w.req.Stream
	}
}

// due returns the next event w should have, nil if none is due.
func (m *model) due(w *modelWatcher) *store.Event {
	if w.done {
		return nil
	}
	for _, e := range m.past.events {
		if e.Index >= w.next && e.Index <= m.hub.Last() && modelMatch(w.req, e) {
			return e
		}
	}
	return nil
}

func (w *modelWatcher) String() string {
	return fmt.Sprintf("%+v at %d", w.req, w.next)
}

func describe(e *store.Event) string {
	if e == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d %s %s", e.Index, e.Action, e.Node.Key)
}

// modelMatch is contract §2.2 once more, by components.
func modelMatch(r Request, e *store.Event) bool {
	w, k := split(r.Key), split(e.Node.Key)
	switch {
	case e.Refresh:
		return false
	case len(k) < len(w):
		return e.Removed(r.Key)
	case len(k) > len(w) && !r.Recursive:
		return false
	}
	for i := range k {
		if i < len(w) && k[i] != w[i] {
			return false
		}
		if i >= len(w) && k[i][0] == '_' {
			return false
		}
	}
	return true
}

func split(k store.Key) []string {
	if k.IsRoot() {
		return nil
	}
	return strings.Split(k.String()[1:], "/")
}

func drawKey(t *rapid.T, minDepth int) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "_h"}), minDepth, 3).Draw(t, "key")
	return "/" + strings.Join(parts, "/")
}

func drawEvent(t *rapid.T, index uint64) *store.Event {
	key := drawKey(t, 1)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return refresh(index, key)
	case 1:
		e := removal(index, key)
		last := rapid.SampledFrom([]string{"", "a", "b", "ab", "_h"}).Draw(t, "gone")
		setRemoved(e, func(k store.Key) bool { return last == "" || k.Name() == last })
		return e
	default:
		return change(index, key)
	}
}
