package store

import (
	"encoding/binary"
	"math"
	"time"
)

// Tick is the unit of the group clock: one OpAdvance moves it by a tick at
// most, and a deadline lies a tick later than asked, so that a key that was
// written just before the clock moved still never expires early (design §5).
const Tick = 250 * time.Millisecond

// record is a node as it is kept: what is behind a place of the node space.
type record struct {
	dir               bool
	created, modified uint64
	hasTTL            bool
	deadline          int64 // on the group clock, nanoseconds; with hasTTL
	expiration        int64 // shown to clients, Unix nanoseconds; with hasTTL
	value             string
}

const (
	recordDir      = 1 << iota
	recordTTL      // deadline and expiration follow
	recordModified // modified is not the version of the record (the TTL of a directory was set)
	recordEnd
)

// encode returns the record as the version of the given index.
func (r *record) encode(index uint64) string {
	b := make([]byte, 0, 24+len(r.value))
	b = append(b, 0)
	b = binary.AppendUvarint(b, index-r.created)
	if r.dir {
		b[0] |= recordDir
	}
	if r.modified != index {
		b[0] |= recordModified
		b = binary.AppendUvarint(b, index-r.modified)
	}
	if r.hasTTL {
		b[0] |= recordTTL
		b = binary.AppendVarint(b, r.deadline)
		b = binary.AppendVarint(b, r.expiration)
	}
	return string(append(b, r.value...))
}

// decodeRecord is the inverse of encode. The value shares the memory of s.
func decodeRecord(s string, index uint64) (record, error) {
	in := cursor{rest: s}
	flags := in.byte()
	r := record{dir: flags&recordDir != 0, hasTTL: flags&recordTTL != 0, modified: index}
	r.created = index - in.uvarint()
	if flags&recordModified != 0 {
		r.modified = index - in.uvarint()
	}
	if r.hasTTL {
		r.deadline, r.expiration = in.varint(), in.varint()
	}
	if flags >= recordEnd {
		in.fail()
	}
	r.value = in.rest
	return r, in.err
}

// node returns the record as a client sees it when the group clock shows clock.
func (r *record) node(k Key, clock int64) *Node {
	n := &Node{Key: k, Value: r.value, Dir: r.dir, CreatedIndex: r.created, ModifiedIndex: r.modified}
	if r.hasTTL {
		n.HasTTL, n.Expiration, n.TTL = true, r.expiration, secondsLeft(r.deadline, clock)
	}
	return n
}

// setTTL gives the record the TTL that the command asks for, or none.
func (r *record) setTTL(c *Command, clock int64) {
	r.hasTTL, r.deadline, r.expiration = c.HasTTL, 0, 0
	if c.HasTTL {
		r.deadline, r.expiration = deadline(clock, c.TTL), c.Expiration
	}
}

// deadline returns when a key expires that is given ttl seconds now. It does
// not overflow: the latest deadline is the last nanosecond of the clock.
func deadline(clock, ttl int64) int64 {
	d := min(ttl, MaxTTL)*int64(time.Second) + int64(Tick)
	if clock > math.MaxInt64-d {
		return math.MaxInt64
	}
	return clock + d
}

// secondsLeft returns the TTL to show, rounded up, never negative. The tick
// that deadline adds is not the client's.
func secondsLeft(deadline, clock int64) int64 {
	left := max(deadline-int64(Tick)-clock, 0)
	seconds := left / int64(time.Second)
	if left%int64(time.Second) > 0 {
		seconds++
	}
	return seconds
}
