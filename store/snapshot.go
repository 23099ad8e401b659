package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// A snapshot on the wire:
//
//	"WITN" format(1) length ledger
//	records, in order of places and newest version first:
//	    1 length place index length value
//	    2 length place index                 the place was emptied
//	0 count
//	CRC-32C of all that, 4 bytes little-endian
//
// Lengths, indexes and the count are varints. Beside the tree it holds what
// the events of the history are made of: the versions from the one before the
// oldest event on, and the removals among them.
const (
	snapshotMagic  = "WITN"
	snapshotFormat = 1

	snapshotEnd     = 0
	snapshotValue   = 1
	snapshotEmptied = 2
)

// BeginsSnapshot reports whether the beginning of a file holds that of a
// snapshot, behind what others have written in front of it.
func BeginsSnapshot(b []byte) bool {
	return bytes.Contains(b, append([]byte(snapshotMagic), snapshotFormat))
}

// ErrStopped says that writing or reading a snapshot was stopped by its caller.
var ErrStopped = errors.New("store: stopped")

// Snapshot is the whole store as it was at one log position. Taking one costs
// a flush; writing it goes on beside Apply and reads. What it holds is kept on
// the disk until it is closed.
type Snapshot struct {
	store *Store
	head  head
	raw   []byte // the ledger

	mu       sync.Mutex // held by WriteTo
	view     view
	released bool
}

// Snapshot returns the store as it is, everything applied before the call
// included. The caller closes it.
func (s *Store) Snapshot() (*Snapshot, error) {
	if err := s.Flush(); err != nil {
		return nil, err
	}
	s.commit.committing.Lock()
	defer s.commit.committing.Unlock()
	d := s.commit.last()
	l, err := decodeLedger(string(d.ledger))
	if err != nil {
		return nil, fmt.Errorf("store: snapshot: %w", err)
	}
	l.trimmed = d.head.oldest
	v, err := s.kv.hold(historyBase(&d.head))
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{store: s, head: d.head, raw: l.encode(), view: v}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots[snap] = struct{}{}
	return snap, nil
}

// historyBase returns the index of the oldest tree that is kept: the one
// before the oldest event.
func historyBase(h *head) uint64 {
	if h.count == 0 {
		return h.frontier
	}
	return h.oldest - 1
}

// Position returns the frontier and the log position of the snapshot.
func (n *Snapshot) Position() (index, raftIndex uint64) { return n.head.frontier, n.head.raftIndex }

// WriteTo writes the snapshot for Restore to read. It ends with ErrStopped
// when stop is closed and with ErrClosed when the store is.
func (n *Snapshot) WriteTo(w io.Writer, stop <-chan struct{}) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.released {
		return ErrClosed
	}
	sum := crc32.New(castagnoli)
	buffered := bufio.NewWriterSize(w, 1<<18)
	out := snapshotWriter{w: io.MultiWriter(buffered, sum), head: &n.head, base: historyBase(&n.head)}
	if err := out.header(n.raw); err != nil {
		return fmt.Errorf("store: write snapshot: %w", err)
	}
	if err := out.history(&n.view, n.store.interrupted(stop)); err != nil {
		return fmt.Errorf("store: write snapshot: %w", n.store.suspect(err))
	}
	for _, space := range []byte{spaceNode, spaceQueue} {
		if err := out.space(&n.view, space, n.store.interrupted(stop)); err != nil {
			return fmt.Errorf("store: write snapshot: %w", n.store.suspect(err))
		}
	}
	if err := out.end(); err != nil {
		return fmt.Errorf("store: write snapshot: %w", err)
	}
	if _, err := buffered.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return fmt.Errorf("store: write snapshot: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("store: write snapshot: %w", err)
	}
	return nil
}

// interrupted returns a function that tells why not to go on, if so.
func (s *Store) interrupted(stop <-chan struct{}) func() error {
	return func() error {
		select {
		case <-stop:
			return ErrStopped
		case <-s.closing:
			return ErrClosed
		default:
			return nil
		}
	}
}

// Close lets go of the snapshot. It waits for a WriteTo that goes on.
func (n *Snapshot) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.released {
		return
	}
	n.released = true
	n.view.release()
	n.store.mu.Lock()
	delete(n.store.snapshots, n)
	n.store.mu.Unlock()
}

// closeSnapshots closes the snapshots that their owners have not.
func (s *Store) closeSnapshots() {
	s.mu.Lock()
	var open []*Snapshot
	for n := range s.snapshots {
		open = append(open, n)
	}
	s.mu.Unlock()
	for _, n := range open {
		n.Close()
	}
}

// castagnoli is computed once by the library and only read.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshotWriter picks the versions that belong into a snapshot.
type snapshotWriter struct {
	w     io.Writer
	head  *head
	base  uint64 // of versions up to here, only the newest counts
	count uint64
	buf   []byte
}

func (o *snapshotWriter) header(ledger []byte) error {
	b := append([]byte(snapshotMagic), snapshotFormat)
	b = binary.AppendUvarint(b, uint64(len(ledger)))
	_, err := o.w.Write(append(b, ledger...))
	return err
}

func (o *snapshotWriter) end() error {
	_, err := o.w.Write(binary.AppendUvarint([]byte{snapshotEnd}, o.count))
	return err
}

// checkEvery is after how many records a snapshot looks for its stop signal.
const checkEvery = 256

// history writes the records of the events.
func (o *snapshotWriter) history(v *view, interrupted func() error) error {
	var failed error
	_, err := v.db.history(o.head.oldest, o.head.frontier, func(index uint64, trace string) bool {
		if o.count%checkEvery == 0 {
			failed = interrupted()
		}
		if failed == nil {
			failed = o.record(mutation{historyKey(index), version{index: index, value: trace}})
		}
		return failed == nil
	})
	return errors.Join(err, failed)
}

// space writes the records of one space.
func (o *snapshotWriter) space(v *view, space byte, interrupted func() error) error {
	txn := v.db.badger.NewTransactionAt(firstVersion+o.head.frontier, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}, AllVersions: true})
	defer it.Close()
	var last []byte
	var below uint64 // versions of last from here on were looked at
	done := false    // with the versions of last
	walked := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if walked++; walked%checkEvery == 0 {
			if err := interrupted(); err != nil {
				return err
			}
		}
		item := it.Item()
		if last == nil || !bytes.Equal(item.Key(), last) {
			last, done, below = item.KeyCopy(last), false, math.MaxUint64
		}
		if done {
			continue
		}
		var failed error
		err := itemVersions(item, func(v version) bool {
			if v.index >= below { // twice on the disk, after a crash
				return true
			}
			var wanted bool
			below = v.index
			if wanted, done = o.wants(space, &v); wanted {
				failed = o.record(mutation{string(last), v})
			}
			return !done && failed == nil
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return interrupted()
}

// wants tells whether a version belongs into the snapshot, and whether the
// older ones of its place do not. Versions come newest first.
func (o *snapshotWriter) wants(space byte, v *version) (wanted, done bool) {
	if space == spaceNode && v.index > o.base {
		return true, false
	}
	return !v.gone, true
}

func (o *snapshotWriter) record(m mutation) error {
	kind := byte(snapshotValue)
	if m.gone {
		kind = snapshotEmptied
	}
	b := append(o.buf[:0], kind)
	b = appendText(b, m.place)
	b = binary.AppendUvarint(b, m.index)
	if !m.gone {
		b = appendText(b, m.value)
	}
	o.buf = b
	o.count++
	_, err := o.w.Write(b)
	return err
}
