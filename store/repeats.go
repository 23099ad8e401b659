package store

import (
	"encoding/binary"
	"maps"
	"slices"
)

// repeats remembers which proposals were done, per proposing member, so that
// one that was proposed twice is done once (Command.Origin). What was refused
// is remembered as well: its client may have been told, and would find it done
// later.
//
// A window belongs to one boot of the member. When an entry of a later boot
// comes by, the log has decided that the member was restarted: nobody waits
// for the proposals of the earlier boot any more, and the new window replaces
// the old one. From then on whatever comes from an earlier boot is a
// straggler: a copy that lay in the buffers of a leader that hung, of which
// nobody can say any more whether another copy was done.
type repeats map[uint64]*window

type window struct {
	boot    uint64
	settled uint64            // highest Settled seen: nothing up to here is done any more
	done    map[uint64]uint64 // Seq → index of the event, 0 if there was none
}

// find looks for the command among those that were done. A command numbered at
// or below what its proposer has already called settled is a straggler, the
// second copy of one whose fate is known: it counts as done, with index 0.
func (r repeats) find(c *Command) (index uint64, done bool) {
	w := r[c.Origin]
	if w == nil || w.boot < c.Boot {
		w = &window{boot: c.Boot, done: map[uint64]uint64{}}
		r[c.Origin] = w
	}
	if c.Boot < w.boot || c.Seq <= w.settled {
		return 0, true
	}
	w.settle(c.Settled)
	index, done = w.done[c.Seq]
	return index, done
}

// record notes that the command was done by the event with the given index, or
// refused. find was called for it before.
func (r repeats) record(c *Command, index uint64) { r[c.Origin].done[c.Seq] = index }

func (w *window) settle(settled uint64) {
	if settled <= w.settled {
		return
	}
	if settled-w.settled > uint64(len(w.done)) {
		maps.DeleteFunc(w.done, func(seq, _ uint64) bool { return seq <= settled })
	} else {
		for seq := w.settled + 1; seq <= settled; seq++ {
			delete(w.done, seq)
		}
	}
	w.settled = settled
}

func (r repeats) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r)))
	for _, origin := range slices.Sorted(maps.Keys(r)) {
		w := r[origin]
		b = binary.AppendUvarint(b, origin)
		b = binary.AppendUvarint(b, w.boot)
		b = binary.AppendUvarint(b, w.settled)
		b = binary.AppendUvarint(b, uint64(len(w.done)))
		for _, seq := range slices.Sorted(maps.Keys(w.done)) {
			b = binary.AppendUvarint(b, seq)
			b = binary.AppendUvarint(b, w.done[seq])
		}
	}
	return b
}

func readRepeats(in *cursor) repeats {
	r := repeats{}
	for n := in.uvarint(); n > 0 && in.err == nil; n-- {
		origin := in.uvarint()
		w := &window{boot: in.uvarint(), settled: in.uvarint(), done: map[uint64]uint64{}}
		for m := in.uvarint(); m > 0 && in.err == nil; m-- {
			seq := in.uvarint()
			w.done[seq] = in.uvarint()
		}
		r[origin] = w
	}
	return r
}
