package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Log is the complete sequence of events of a run, in index order, and what can be looked up in it.
type Log struct {
	Events  []history.Event
	byIndex map[uint64]*history.Event
	byKey   map[string][]*history.Event
	byValue map[string][]*history.Event
}

// NewLog indexes events. They must be complete from the first to the last.
func NewLog(events []history.Event) *Log {
	l := &Log{
		Events:  events,
		byIndex: map[uint64]*history.Event{},
		byKey:   map[string][]*history.Event{},
		byValue: map[string][]*history.Event{},
	}
	for i := range events {
		e := &events[i]
		l.byIndex[e.Index] = e
		l.byKey[e.Key] = append(l.byKey[e.Key], e)
		if !e.Removes() {
			l.byValue[e.Value] = append(l.byValue[e.Value], e)
		}
	}
	return l
}

// last is the index of the newest event.
func (l *Log) last() uint64 {
	if len(l.Events) == 0 {
		return 0
	}
	return l.Events[len(l.Events)-1].Index
}

// Resolve gives unknown writes the index under which the log shows them. The operations are copies where something changed.
func (l *Log) Resolve(ops []*history.Op) []*history.Op {
	out := slices.Clone(ops)
	for i, op := range out {
		if op.Outcome != history.Unknown || !op.Kind.Writes() || op.Kind.Removes() {
			continue
		}
		if found := l.byValue[op.Value]; len(found) > 0 {
			resolved := *op
			resolved.Index, resolved.Key = found[0].Index, found[0].Key
			out[i] = &resolved
		}
	}
	return out
}

// Happened leaves out the writes of unknown outcome that had no effect: the log is complete and has nothing of them. What searches for an
// order of the operations need not try them at every place. Removals leave no trace of their own and stay.
func (l *Log) Happened(ops []*history.Op) []*history.Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op *history.Op) bool {
		return op.Outcome == history.Unknown && op.Kind.Writes() && !op.Kind.Removes() && len(l.byValue[op.Value]) == 0
	})
}

// Writes holds the log against the operations: each acknowledged write stands at its index as it was asked for, none that failed is
// there, none that timed out is there twice, nothing is there that nobody asked for (MR-2). Only operations up to the log's end are judged.
func (l *Log) Writes(ops []*history.Op) []Violation {
	var out []Violation
	claimed := map[uint64]bool{}
	removals := map[string]int{} // unknown ones, by key
	mayExpire := leased(ops)
	for _, op := range ops {
		switch {
		case !op.Kind.Writes():
		case op.Outcome == history.Fail:
			if !op.Kind.Removes() && len(l.byValue[op.Value]) > 0 {
				out = append(out, violation("log", []*history.Op{op}, "a write that failed took effect: %s", l.byValue[op.Value][0]))
			}
		case op.Outcome == history.Unknown && op.Kind.Removes():
			removals[op.Key]++
		case op.Outcome == history.Unknown:
			for _, e := range l.byValue[op.Value] {
				claimed[e.Index] = true
			}
		case op.Index <= l.last():
			out = append(out, l.acknowledged(op)...)
			claimed[op.Index] = true
		}
		if op.Kind.Writes() && !op.Kind.Removes() && len(l.byValue[op.Value]) > 1 {
			out = append(out, violation("log", []*history.Op{op}, "took effect twice: %s and %s", l.byValue[op.Value][0], l.byValue[op.Value][1]))
		}
	}
	for i := range l.Events {
		e := &l.Events[i]
		if claimed[e.Index] || e.Action == "expire" && mayExpire[e.Key] {
			continue
		}
		if e.Removes() && removals[e.Key] > 0 {
			removals[e.Key]--
			continue
		}
		out = append(out, violation("log", nil, "an event nobody asked for: %s", e))
	}
	return out
}

func (l *Log) acknowledged(op *history.Op) []Violation {
	e := l.byIndex[op.Index]
	if e == nil {
		return []Violation{violation("log", []*history.Op{op}, "acknowledged at %d, but the log has no such event", op.Index)}
	}
	if e.Key != op.Key || (!op.Kind.Removes() && e.Value != op.Value) || e.Removes() != op.Kind.Removes() {
		return []Violation{violation("log", []*history.Op{op}, "the log has another event at %d: %s", op.Index, e)}
	}
	return nil
}

// Chains says that every event names the event before it of the same key as its predecessor, and that a
// compare-and-swap found exactly the version it had asked for.
func (l *Log) Chains(ops []*history.Op) []Violation {
	var out []Violation
	for key, events := range l.byKey {
		var before uint64
		first := true
		for _, e := range events {
			if !first && e.PrevIndex != before {
				out = append(out, violation("chain", nil, "%s: %s should follow %d", key, e, before))
			}
			first, before = false, e.Index
			if e.Removes() {
				before = 0
			}
		}
	}
	for _, op := range ops {
		if (op.Kind != history.CAS && op.Kind != history.CAD) || op.Outcome != history.OK {
			continue
		}
		e := l.byIndex[op.Index]
		if e == nil {
			continue // Writes tells of it
		}
		if (op.ByIndex > 0 && e.PrevIndex != op.ByIndex) || e.PrevValue != op.PrevValue {
			out = append(out, violation("chain", []*history.Op{op}, "compared with %q of %d, but the predecessor was %q of %d",
				op.PrevValue, op.ByIndex, e.PrevValue, e.PrevIndex))
		}
	}
	return out
}

// QuorumReads says that each quorum read shows a version that was current at some index between what
// had been answered before it began and its own X-Etcd-Index (MR-1).
func (l *Log) QuorumReads(ops []*history.Op, order Order) []Violation {
	scopes := map[string][]*history.Op{}
	for _, op := range ops {
		scopes[order.scope(op.Key)] = append(scopes[order.scope(op.Key)], op)
	}
	var out []Violation
	for _, scoped := range scopes {
		sweep(scoped, func(op, newest *history.Op) {
			if op.Kind != history.QuorumGet || op.Outcome != history.OK || op.Header > l.last() {
				return
			}
			var floor uint64
			if newest != nil {
				floor = newest.Index
			}
			if !l.current(op, floor) {
				out = append(out, violation("quorum-read", []*history.Op{newest, op},
					"version %d was not current between %d and %d; %s", op.Index, floor, op.Header, l.around(op.Key, floor)))
			}
		})
	}
	return out
}

// current says whether what op saw was the key's state at some index in [floor, op.Header].
func (l *Log) current(op *history.Op, floor uint64) bool {
	events := l.byKey[op.Key]
	var at uint64 // version at floor; 0 is absent
	for _, e := range events {
		version := e.Index
		if e.Removes() {
			version = 0
		}
		if e.Index <= floor {
			at = version
			continue
		}
		if at == op.Index {
			return true
		}
		if e.Index > op.Header {
			return false
		}
		at = version
	}
	return at == op.Index
}

func (l *Log) around(key string, index uint64) string {
	events := l.byKey[key]
	i, _ := slices.BinarySearchFunc(events, index, func(e *history.Event, index uint64) int { return cmp.Compare(e.Index, index) })
	return fmt.Sprintf("the key's events around it: %v", events[max(0, i-2):min(len(events), i+3)])
}

// Listing says that a listing is the state the log leads to at the listing's index (MR-10, DUR-1). The log must have begun with an
// empty tree, or with keys for which covers is false.
func (l *Log) Listing(got history.Listing, covers func(key string) bool) []Violation {
	want := map[string]history.Node{}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Index > got.Index || !covers(e.Key) {
			continue
		}
		if e.Removes() {
			delete(want, e.Key)
			continue
		}
		want[e.Key] = history.Node{Key: e.Key, Value: e.Value, Index: e.Index}
	}
	var out []Violation
	for key, node := range want {
		if got.Nodes[key] != node {
			out = append(out, violation("listing", nil, "%s at %d: %s is %v, the log says %v", got.From, got.Index, key, got.Nodes[key], node))
		}
	}
	for key, node := range got.Nodes {
		if _, ok := want[key]; !ok && covers(key) {
			out = append(out, violation("listing", nil, "%s at %d: %v is listed, the log says it is absent", got.From, got.Index, node))
		}
	}
	return out
}
