package store

import (
	"encoding/binary"
	"math"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// recent remembers the newest versions of places that were read or written
// lately, so that they need not be looked up in Badger: a PUT reads the node it
// replaces, and what is written is soon read. It is guarded by kv.mu.
//
// Invariant: what it has of a place that is not in the overlay is the newest
// version there is. So the committer enters a generation before it drops it,
// and a reader what it has read only if nothing can have changed meanwhile.
//
// The versions lie one behind the other in slabs, which are filled in turn: a
// slab that is filled again forgets what was in it. There are no pointers
// in here, so that the garbage collector has nothing to look at, and a version costs
// its bytes and about 20 more. As 32 bits of a place's hash stand for it, two
// places may be taken for one; then the one that came first is forgotten.
//
// A look-up in Badger takes 20 µs of CPU, one in here less than 1. So a GET among
// a million keys costs what it costs among a thousand (docs/performance.md).
type recent struct {
	bytes  int64             // that the slabs may have
	slabs  [][]byte          // of slabBytes each, made when they are needed
	filled int               // the one that is being filled
	places map[uint32]uint32 // hash of a place → where in the slabs its version begins
}

// A version longer than rememberedBytes is looked up in Badger each time: there
// the look-up is the smaller part of what it costs.
const (
	slabBytes       = 256 << 10
	rememberedBytes = slabBytes / 2
)

// newRecent returns one that keeps about so many bytes, but two slabs at least.
func newRecent(bytes int64) recent {
	bytes = min(max(bytes, 2*slabBytes), math.MaxUint32)
	return recent{bytes: bytes, places: make(map[uint32]uint32)}
}

func (r *recent) get(place []byte) (version, bool) {
	wanted := unsafe.String(unsafe.SliceData(place), len(place))
	at, ok := r.places[placeHash(wanted)]
	if !ok {
		return version{}, false
	}
	has, v := readRemembered(r.slabs[at/slabBytes][at%slabBytes:])
	if has.place != wanted {
		return version{}, false
	}
	v.value = strings.Clone(v.value) // the slab may be filled again
	return v, true
}

// put enters the newest version of a place.
func (r *recent) put(place string, v version) {
	hash := placeHash(place)
	size := len(place) + len(v.value) + rememberedHead
	if size > rememberedBytes {
		delete(r.places, hash) // what it has is not the newest any more
		return
	}
	slab := r.room(size)
	r.places[hash] = uint32(r.filled*slabBytes + len(*slab))
	*slab = appendRemembered(*slab, place, v)
}

// room returns a slab that takes in so many bytes more.
func (r *recent) room(size int) *[]byte {
	if len(r.slabs) > 0 && len(r.slabs[r.filled])+size > slabBytes {
		if r.filled++; int64(r.filled) == r.bytes/slabBytes {
			r.filled = 0
		}
	}
	if r.filled == len(r.slabs) {
		r.slabs = append(r.slabs, make([]byte, 0, slabBytes))
	}
	slab := &r.slabs[r.filled]
	if len(*slab)+size > slabBytes {
		r.forget(r.filled)
	}
	return slab
}

// forget empties a slab.
func (r *recent) forget(slab int) {
	content := r.slabs[slab]
	for at := 0; at < len(content); {
		has, _ := readRemembered(content[at:])
		hash := placeHash(has.place)
		if r.places[hash] == uint32(slab*slabBytes+at) {
			delete(r.places, hash)
		}
		at += has.size
	}
	r.slabs[slab] = content[:0]
}

func placeHash(place string) uint32 { return uint32(xxhash.Sum64String(place)) }

// rememberedHead is the most that a version takes beside its place and its value.
const rememberedHead = 3 * binary.MaxVarintLen64

// remembered is a version in a slab.
type remembered struct {
	place string // shares the slab's memory
	size  int
}

func appendRemembered(b []byte, place string, v version) []byte {
	index := v.index << 1
	if v.gone {
		index |= 1
	}
	b = appendText(b, place)
	b = binary.AppendUvarint(b, index)
	return appendText(b, v.value)
}

// readRemembered is the inverse of appendRemembered. The value shares the slab's memory.
func readRemembered(b []byte) (remembered, version) {
	in := cursor{rest: unsafe.String(unsafe.SliceData(b), len(b))}
	place, index, value := in.text(), in.uvarint(), in.text()
	return remembered{place, len(b) - len(in.rest)}, version{index: index >> 1, gone: index&1 == 1, value: value}
}
