package store

import (
	"encoding/binary"
	"fmt"
)

// ledgerFormat is the first byte of a ledger record.
const ledgerFormat = 1

// ledger is all that Apply depends on beside the tree, and what else must be
// known of a database without looking at its records. It is written with every
// commit and travels in snapshots.
type ledger struct {
	group, groups int
	head          head
	trimmed       uint64 // the history is deleted from the disk below this index
	repeats       repeats
}

func (l *ledger) encode() []byte {
	h := &l.head
	b := append(make([]byte, 0, 128), ledgerFormat)
	for _, n := range []uint64{
		uint64(l.group), uint64(l.groups),
		h.raftIndex, h.frontier, h.hash, uint64(h.clock), uint64(h.timed), uint64(h.sweep),
		h.oldest, h.newest, uint64(h.count), l.trimmed,
	} {
		b = binary.AppendUvarint(b, n)
	}
	if h.dropped {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return l.repeats.appendTo(b)
}

func decodeLedger(s string) (ledger, error) {
	in := cursor{rest: s}
	if format := in.byte(); in.err == nil && format != ledgerFormat {
		return ledger{}, fmt.Errorf("ledger format %d is unknown", format)
	}
	var l ledger
	h := &l.head
	l.group, l.groups = int(in.uvarint()), int(in.uvarint())
	h.raftIndex, h.frontier, h.hash = in.uvarint(), in.uvarint(), in.uvarint()
	h.clock, h.timed, h.sweep = int64(in.uvarint()), int(in.uvarint()), int64(in.uvarint())
	h.oldest, h.newest, h.count = in.uvarint(), in.uvarint(), int(in.uvarint())
	l.trimmed = in.uvarint()
	h.dropped = in.byte() == 1
	l.repeats = readRepeats(&in)
	if err := in.end(); err != nil {
		return ledger{}, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}
