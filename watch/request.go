package watch

import (
	"strings"

	"github.com/witan-kv/witan/store"
)

// Request says what a watcher wants to be told (contract §2).
type Request struct {
	Key       store.Key
	Recursive bool   // also what happens below Key, but for hidden nodes
	Stream    bool   // every matching event until it is closed; otherwise exactly one
	From      uint64 // lowest index wanted, the waitIndex of the API; 0 = whatever comes next
}

// wants reports whether e is to be shown to the watcher. It is the one
// statement of the rules of contract §2.2, used for live events, for the tail
// and for the Source alike, so that a watcher cannot tell where an event came
// from. It does not look at From.
func (r Request) wants(e *store.Event) bool {
	if e.Refresh {
		return false
	}
	k := e.Node.Key
	switch {
	case k == r.Key:
		return true
	case r.Key.Contains(k):
		return r.Recursive && !hiddenBelow(r.Key, k)
	default:
		return e.Removed(r.Key)
	}
}

// hiddenBelow reports whether a component of k strictly below dir starts with
// an underscore. dir must contain k. Whether dir itself lies in a hidden
// directory does not matter: who watches /_x asked for it.
func hiddenBelow(dir, k store.Key) bool {
	below := k.String()
	if !dir.IsRoot() {
		below = below[len(dir.String()):]
	}
	return strings.Contains(below, "/_")
}

// eventOverhead is what an event costs beside its keys and values: the Event,
// its two nodes, and the punctuation of its wire form. In bytes, roughly.
const eventOverhead = 512

// weight is the memory an event keeps alive, in bytes, for bounding buffers.
// Keys and values count twice because the wire form repeats them.
func weight(e *store.Event) int {
	n := len(e.Node.Key.String()) + len(e.Node.Value)
	if e.Prev != nil {
		n += len(e.Prev.Key.String()) + len(e.Prev.Value)
	}
	return eventOverhead + 2*n
}
