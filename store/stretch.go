package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// What the generations of one commit hold of the history is written in stretches:
// runs of events that are one entry of Badger's each, at the place of the last
// of them. A stretch is
//
//	index length trace, for each event
//
// in varints, every index but the first less the one before.
//
// Stretches have the version of the ledger that vouches for them and not one that
// tells an index: events are not looked up in the past. So stretches that were left
// by an unfinished commit can be told, and go when the database is opened
// (dropUnvouched). Invariant: the stretches of an open database are disjoint,
// and hold all events of the history between them.

// past is an event as the overlay has it.
type past struct {
	index uint64
	trace string
	size  int // bytes of all versions that the event made
}

// stretchBytes is about how much happens in the events of one stretch.
const stretchBytes = 1 << stretchBits

// A window is some stretches.
const (
	stretchBits = 15
	windowBits  = 20
)

// What Badger keeps beside our entries.
const (
	metaPack      = 1 // a pack
	metaWindowEnd = 2 // the stretch that a window ends with
	metaUnpacked  = 3 // a stretch of a snapshot: each version of its events is an entry of its own
)

// endsStretch tells whether a stretch ends with an event. It depends on nothing but
// the event, and so not on where generations are cut. The multiplication spreads
// the indexes evenly over 0…stretchBytes-1: of events of equal size every
// (stretchBytes/size)th one ends a stretch, roughly.
func (p *past) endsStretch() bool { return lot(p.index, stretchBits) < uint64(p.size) }

// endsWindow tells whether a window of the versions ends with an event, which
// then ends a stretch as well. See pack.
func (p *past) endsWindow() bool { return lot(p.index, windowBits) < uint64(p.size) }

// lot spreads the indexes over so many bits.
func lot(index uint64, bits int) uint64 { return index * 0x9e3779b97f4a7c15 >> (64 - bits) }

// cutStretches calls each for the stretches that the events make.
func cutStretches(events []past, each func(stretch []past) error) error {
	begin := 0
	for i := range events {
		if events[i].size >= stretchBytes && i > begin { // stays alone
			if err := each(events[begin:i]); err != nil {
				return err
			}
			begin = i
		}
		if events[i].endsStretch() || i == len(events)-1 {
			if err := each(events[begin : i+1]); err != nil {
				return err
			}
			begin = i + 1
		}
	}
	return nil
}

func encodeStretch(stretch []past) []byte {
	var n int
	for i := range stretch {
		n += len(stretch[i].trace) + 4
	}
	b := make([]byte, 0, n+binary.MaxVarintLen64)
	var last uint64
	for i := range stretch {
		b = binary.AppendUvarint(b, stretch[i].index-last)
		b = appendText(b, stretch[i].trace)
		last = stretch[i].index
	}
	return b
}

// decodeStretch calls each for the events of the stretch that ends at the given
// index, until it returns false.
func decodeStretch(s string, end uint64, each func(index uint64, trace string) bool) error {
	var index uint64
	for in := (cursor{rest: s}); in.rest != ""; {
		step, trace := in.uvarint(), in.text()
		if in.err != nil || step == 0 || step > end-index || (in.rest == "") != (index+step == end) {
			return fmt.Errorf("store: read history: %w", errMalformed)
		}
		if index += step; !each(index, trace) {
			break
		}
	}
	return nil
}

// stretchEntry returns what a stretch is in a commit that the next ledger vouches for.
func (d *database) stretchEntry(stretch []past, meta byte) entry {
	place := historyKey(stretch[len(stretch)-1].index)
	return entry{place: place, version: d.ledger + 1, value: encodeStretch(stretch), meta: meta}
}

// history calls each for the events of [from, to], in order, until it returns false.
func (d *database) history(from, to uint64, each func(index uint64, trace string) bool) (goOn bool, err error) {
	c := d.stretches(from)
	defer c.close()
	goOn = true
	for unread := from; unread <= to && c.next(); unread = c.end + 1 {
		value, err := itemValue(c.it.Item())
		if err != nil {
			return false, err
		}
		err = decodeStretch(value, c.end, func(index uint64, trace string) bool {
			if index >= from && index <= to {
				goOn = each(index, strings.Clone(trace))
			}
			return goOn && index < to
		})
		if err != nil || !goOn {
			return false, err
		}
	}
	return true, nil
}

// stretchesBelow returns the ends of at most max stretches that end in [from, to).
func (d *database) stretchesBelow(from, to uint64, max int) (ends []uint64) {
	c := d.stretches(from)
	defer c.close()
	for len(ends) < max && c.next() && c.end < to {
		ends = append(ends, c.end)
	}
	return ends
}

// dropUnvouched empties the places of stretches that an unfinished commit has left:
// those that end above the frontier. The log will bring their events again,
// perhaps in other stretches, with versions above those of the removals.
func (d *database) dropUnvouched(frontier uint64) error {
	txn := d.badger.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spaceHistory}, AllVersions: true})
	defer it.Close()
	var left [][]byte
	newest := d.ledger
	for it.Seek([]byte(historyKey(frontier + 1))); it.Valid(); it.Next() {
		left = append(left, it.Item().KeyCopy(nil))
		newest = max(newest, it.Item().Version())
	}
	if len(left) == 0 {
		return nil
	}
	d.ledger = newest + 1
	batch := d.badger.NewManagedWriteBatch()
	defer batch.Cancel()
	for _, place := range left {
		if err := batch.DeleteAt(place, d.ledger); err != nil {
			return fmt.Errorf("store: drop what a crash has left: %w", err)
		}
	}
	if err := batch.Flush(); err != nil {
		return fmt.Errorf("store: drop what a crash has left: %w", err)
	}
	return nil
}

// window returns the window that index is in. It is empty after the last one.
func (d *database) window(index uint64) span {
	c := d.stretches(index)
	defer c.close()
	for c.next() {
		switch c.it.Item().UserMeta() {
		case metaWindowEnd:
			return span{from: index, to: c.end, packed: true}
		case metaUnpacked:
			return span{from: index, to: c.end}
		}
	}
	return span{from: index, to: index}
}

// span is a part of the history.
type span struct {
	from, to uint64
	packed   bool // what a place held there may be in a newer entry, up to to
}

// stretchCursor walks the stretches of a database.
type stretchCursor struct {
	txn *badger.Txn
	it  *badger.Iterator
	end uint64 // of the stretch the cursor is at
	on  bool   // it has begun
}

// stretches returns a cursor before the first stretch that ends at from or later.
func (d *database) stretches(from uint64) *stretchCursor {
	c := &stretchCursor{txn: d.badger.NewTransactionAt(math.MaxUint64, false)}
	c.it = c.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spaceHistory}})
	c.it.Seek([]byte(historyKey(from)))
	return c
}

func (c *stretchCursor) next() bool {
	if c.on {
		c.it.Next()
	}
	c.on = true
	for ; c.it.Valid(); c.it.Next() {
		if end, ok := historyIndex(string(c.it.Item().Key())); ok {
			c.end = end
			return true
		}
	}
	return false
}

func (c *stretchCursor) close() {
	c.it.Close()
	c.txn.Discard()
}
