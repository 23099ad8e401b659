package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// digest folds everything Apply does into one number that is equal on all
// replicas at equal log positions. It tells diverged replicas apart; it is no
// defence against somebody who wants to deceive.
type digest struct {
	hash    xxhash.Digest
	scratch []byte
}

// version folds one version of one place into h.
func (d *digest) version(h uint64, m *mutation) uint64 {
	gone := uint64(0)
	if m.gone {
		gone = 1
	}
	b := d.begin(h)
	b = binary.LittleEndian.AppendUint64(b, m.index<<1|gone)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(m.place)))
	d.scratch = b
	_, _ = d.hash.Write(b)
	_, _ = d.hash.WriteString(m.place)
	_, _ = d.hash.WriteString(m.value)
	return d.hash.Sum64()
}

// position folds where a command has left the group into its hash.
func (d *digest) position(h *head) uint64 {
	b := d.begin(h.hash)
	b = binary.LittleEndian.AppendUint64(b, h.raftIndex)
	b = binary.LittleEndian.AppendUint64(b, h.frontier)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.clock))
	d.scratch = b
	_, _ = d.hash.Write(b)
	return d.hash.Sum64()
}

func (d *digest) begin(h uint64) []byte {
	d.hash.Reset()
	return binary.LittleEndian.AppendUint64(d.scratch[:0], h)
}
