package store

import (
	"encoding/binary"
	"fmt"
)

// The first byte of a ledger record. The second format also tells what the
// tree was copied from; a tree that began empty is written in the first, which
// every version of this program reads.
const (
	ledgerFormat       = 1
	ledgerFormatSeeded = 2
)

// ledger is all that Apply depends on beside the tree, and what else must be
// known of a database without looking at its records. It is written with every
// commit and travels in snapshots.
type ledger struct {
	group, groups int
	head          head
	trimmed       uint64 // no stretch of the history ends below this index
	repeats       repeats
}

func (l *ledger) encode() []byte {
	h := &l.head
	format := byte(ledgerFormat)
	if h.seed != "" || h.born != 0 {
		format = ledgerFormatSeeded
	}
	b := append(make([]byte, 0, 128), format)
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
	if format == ledgerFormatSeeded {
		b = appendText(binary.AppendUvarint(b, h.born), h.seed)
	}
	return l.repeats.appendTo(b)
}

func decodeLedger(s string) (ledger, error) {
	in := cursor{rest: s}
	format := in.byte()
	if in.err == nil && format != ledgerFormat && format != ledgerFormatSeeded {
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
	if format == ledgerFormatSeeded {
		h.born, h.seed = in.uvarint(), in.text()
	}
	l.repeats = readRepeats(&in)
	if err := in.end(); err != nil {
		return ledger{}, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}
