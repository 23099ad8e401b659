package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// version is what a place held from one index on.
type version struct {
	index uint64
	value string
	gone  bool // the place was emptied; value is ""
}

// mutation is one version of one place.
type mutation struct {
	place string
	version
}

// chain is all pending versions of one place, oldest first.
type chain struct {
	place    string
	versions []version
	first    [1]version // where versions begins: most places change once between two commits
}

// at returns the newest version that is not newer than index.
func (c *chain) at(index uint64) (version, bool) {
	for i := len(c.versions) - 1; i >= 0; i-- {
		if c.versions[i].index <= index {
			return c.versions[i], true
		}
	}
	return version{}, false
}

// generation is the versions that came between two commits. It grows while it
// is the active one; then it is being written to disk and does not change any
// more; and when it is safe there it is dropped as a whole.
type generation struct {
	chains map[string]*chain
	order  *btree.BTreeG[*chain] // the same chains by place
	past   []past                // the events, in order; only appended to
	size   int                   // bytes of the versions since the last event
	bytes  int64
}

func newGeneration() *generation {
	return &generation{
		chains: make(map[string]*chain),
		order: btree.NewBTreeGOptions(func(a, b *chain) bool { return a.place < b.place },
			btree.Options{NoLocks: true}),
	}
}

// What things cost in memory beside their bytes, roughly: the first version of a
// place, and another version or an event.
const (
	placeOverhead   = 160
	versionOverhead = 48
)

// add appends a version to a place and returns how much bigger the generation is now.
// Indexes of one place only go up. What happened comes after the versions it made.
func (g *generation) add(m mutation) int64 {
	grown := g.bytes
	g.size += len(m.place) + len(m.value)
	g.bytes += int64(len(m.value)) + versionOverhead
	if m.place[0] == spaceHistory {
		g.past = append(g.past, past{index: m.index, trace: m.value, size: g.size})
		g.size = 0
		return g.bytes - grown
	}
	c := g.chains[m.place]
	if c == nil {
		c = &chain{place: m.place}
		c.first[0] = m.version
		c.versions = c.first[:]
		g.chains[m.place] = c
		g.order.Set(c)
		g.bytes += int64(len(m.place)) + placeOverhead - versionOverhead
	} else {
		c.versions = append(c.versions, m.version)
	}
	return g.bytes - grown
}

// since returns the events from the given index on.
func (g *generation) since(index uint64) []past {
	i, _ := slices.BinarySearchFunc(g.past, index, func(p past, index uint64) int { return cmp.Compare(p.index, index) })
	return g.past[i:]
}

// collect appends to out, in order, what the places in [from, to) held at
// index, emptied places included, at most limit of them. more says that the
// limit was hit; the last place in out is then the last one looked at.
func (g *generation) collect(from, to string, index uint64, limit int, out []mutation) (_ []mutation, more bool) {
	if len(g.chains) == 0 {
		return out, false
	}
	g.order.Ascend(&chain{place: from}, func(c *chain) bool {
		if c.place >= to {
			return false
		}
		v, ok := c.at(index)
		if !ok {
			return true
		}
		if limit == 0 {
			more = true
			return false
		}
		limit--
		out = append(out, mutation{c.place, v})
		return true
	})
	return out, more
}

// mergeMutations merges two ordered lists; where both have a place, newer wins.
func mergeMutations(newer, older []mutation) []mutation {
	if len(older) == 0 {
		return newer
	}
	if len(newer) == 0 {
		return older
	}
	out := make([]mutation, 0, len(newer)+len(older))
	for len(newer) > 0 && len(older) > 0 {
		switch order := strings.Compare(newer[0].place, older[0].place); {
		case order < 0:
			out, newer = append(out, newer[0]), newer[1:]
		case order > 0:
			out, older = append(out, older[0]), older[1:]
		default:
			out, newer, older = append(out, newer[0]), newer[1:], older[1:]
		}
	}
	return append(append(out, newer...), older...)
}
