package check

import (
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Durable says that nothing acknowledged is missing: each key's last acknowledged write is in the final state or was
// overwritten by a later write that was asked for, and nothing is there that nobody asked for (DUR-1, DUR-2).
// The operations that matter ended before the final state was asked for; later ones are not judged, nor are keys for which covers is false.
func Durable(ops []*history.Op, final history.Listing, covers func(key string) bool) []Violation {
	var out []Violation
	keys, posted := byKey(ops, final.At)
	for key, of := range keys {
		if covers(key) {
			node, found := final.Nodes[key]
			out = append(out, of.judge(key, node, found)...)
		}
	}
	for key, node := range final.Nodes {
		if keys[key] == nil && covers(key) && !posted[node.Value] {
			out = append(out, violation("durable", nil, "%s=%q at %d was never written", key, node.Value, node.Index))
		}
	}
	return out
}

// keyHistory is what clients did to one key, as far as its final state depends on it.
type keyHistory struct {
	last    *history.Op            // the acknowledged write of the highest index
	unknown map[string]*history.Op // by value
	removal *history.Op            // one that may have happened
	acked   map[string]*history.Op // by value
}

// byKey sorts writes by key. The second result are the values of in-order creates whose name nobody was told.
func byKey(ops []*history.Op, before time.Duration) (map[string]*keyHistory, map[string]bool) {
	keys, posted := map[string]*keyHistory{}, map[string]bool{}
	for _, op := range ops {
		if !op.Kind.Writes() || op.Outcome == history.Fail || op.Call > before {
			continue
		}
		if op.Kind == history.Post && op.Outcome == history.Unknown {
			posted[op.Value] = true
			continue
		}
		k := keys[op.Key]
		if k == nil {
			k = &keyHistory{unknown: map[string]*history.Op{}, acked: map[string]*history.Op{}}
			keys[op.Key] = k
		}
		k.add(op)
	}
	return keys, posted
}

func (k *keyHistory) add(op *history.Op) {
	if op.TTL > 0 {
		k.removal = op // by itself
	}
	if op.Outcome == history.OK {
		if k.last == nil || op.Index > k.last.Index {
			k.last = op
		}
		k.acked[op.Value] = op
		return
	}
	if op.Kind.Removes() {
		k.removal = op
		return
	}
	k.unknown[op.Value] = op
}

func (k *keyHistory) judge(key string, node history.Node, found bool) []Violation {
	last := k.last
	lost := func(format string, args ...any) []Violation {
		return []Violation{violation("durable", []*history.Op{last}, format, args...)}
	}
	switch {
	case !found && (last == nil || last.Kind.Removes() || k.removal != nil):
		return nil
	case !found:
		return lost("%s is gone; %q was acknowledged at %d", key, last.Value, last.Index)
	case last != nil && node.Index < last.Index:
		return lost("%s is %q of %d; %s was acknowledged at %d", key, node.Value, node.Index, last.Kind, last.Index)
	case last != nil && node.Index == last.Index && (last.Kind.Removes() || node.Value != last.Value):
		return lost("%s is %q at %d, which was acknowledged with %q", key, node.Value, node.Index, last.Value)
	case last != nil && node.Index == last.Index:
		return nil
	case k.unknown[node.Value] == nil:
		return lost("%s is %q of %d, which nobody can have written there", key, node.Value, node.Index)
	}
	return nil
}
