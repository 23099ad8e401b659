package check

import (
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Digest is one replica's running hash at one position of its log.
type Digest struct {
	Member    string
	Group     int
	RaftIndex uint64
	Hash      string
}

// Digests says that replicas of a group which applied the same have the same hash. The second result is the number
// of pairs that could be compared: none proves nothing.
func Digests(samples []Digest) ([]Violation, int) {
	type place struct {
		group int
		index uint64
	}
	var out []Violation
	first := map[place]Digest{}
	pairs := 0
	for _, d := range samples {
		p := place{d.Group, d.RaftIndex}
		f, ok := first[p]
		if !ok {
			first[p] = d
			continue
		}
		if f.Member != d.Member {
			pairs++
		}
		if f.Hash != d.Hash {
			out = append(out, violation("hash", nil, "group %d at %d: %s has %s, %s has %s", d.Group, d.RaftIndex, f.Member, f.Hash, d.Member, d.Hash))
		}
	}
	return out, pairs
}

// Listings says that listings at the same index are the same. The second result is the number of pairs compared.
func Listings(all []history.Listing) ([]Violation, int) {
	var out []Violation
	first := map[uint64]history.Listing{}
	pairs := 0
	for _, l := range all {
		f, ok := first[l.Index]
		if !ok {
			first[l.Index] = l
			continue
		}
		pairs++
		for key, node := range f.Nodes {
			if l.Nodes[key] != node {
				out = append(out, violation("replica", nil, "at %d %s has %v, %s has %v", l.Index, f.From, node, l.From, l.Nodes[key]))
			}
		}
		for key, node := range l.Nodes {
			if _, ok := f.Nodes[key]; !ok {
				out = append(out, violation("replica", nil, "at %d %s has %v, %s has nothing there", l.Index, l.From, node, f.From))
			}
		}
	}
	return out, pairs
}
