package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// ErrBadSnapshot says that what Restore was given is no complete, undamaged
// snapshot of this group. The store is as it was.
var ErrBadSnapshot = errors.New("store: bad snapshot")

// Restore replaces everything in the store by the snapshot that r holds, and
// returns when that is durable. Reads that began before go on in what was
// there before. Until the snapshot is complete and verified nothing changes;
// a crash at any moment leaves the one or the other. Restore is not called
// together with Apply. It ends with ErrStopped when stop is closed.
func (s *Store) Restore(r io.Reader, stop <-chan struct{}) error {
	s.restoring.Lock()
	defer s.restoring.Unlock()
	seq := s.seq + 1
	dir := databaseDir(s.opt.Dir, seq)
	if err := s.fill(dir, r, s.interrupted(stop)); err != nil {
		return errors.Join(fmt.Errorf("store: restore: %w", err), os.RemoveAll(dir))
	}
	db, l, err := s.openLedger(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.switchTo(db, l, seq); err != nil {
		db.retire(true)
		<-db.closed
		return errors.Join(err, db.err)
	}
	return nil
}

// switchTo goes on with another database. The one used so far is completed
// first, for the readers it has, and goes when they are done.
func (s *Store) switchTo(db *database, l ledger, seq uint64) error {
	c := &s.commit
	c.committing.Lock()
	defer c.committing.Unlock()
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if err := c.reason(); err != nil {
		return err
	}
	now := s.ledgerLocked()
	s.writeGeneration(s.kv.rotate(), durable{head: now.head, ledger: now.encode()})
	if err := c.reason(); err != nil {
		return err
	}
	if err := writeCurrent(s.opt.Dir, seq); err != nil {
		return err
	}
	old := s.adopt(db, l)
	if err := s.shrinkHistory(); err != nil {
		c.fail(err)
	}
	s.seq = seq
	s.mu.Lock()
	s.retired = append(s.retired, old)
	s.mu.Unlock()
	old.retire(true)
	return nil
}

// fill makes a database of a snapshot. It is written without syncing each
// batch, and is on the disk when it is closed.
func (s *Store) fill(dir string, r io.Reader, interrupted func() error) (err error) {
	in := newSnapshotReader(r)
	l, err := in.header()
	if err != nil {
		return err
	}
	if l.group != s.opt.Group || l.groups != s.opt.Groups {
		return fmt.Errorf("it is of group %d of %d: %w", l.group, l.groups, ErrBadSnapshot)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	db, err := openDatabase(dir, &s.opt, false)
	if err != nil {
		return err
	}
	defer func() {
		db.retire(false)
		<-db.closed
		if err = errors.Join(err, db.err); err == nil {
			err = syncDir(s.opt.Dir)
		}
	}()
	if err := copyVersions(db, in, &l.head, interrupted); err != nil {
		return err
	}
	return db.writeLedger(l.encode())
}

// copyVersions writes all versions of a snapshot to the database, and verifies
// the snapshot by the way.
func copyVersions(db *database, in *snapshotReader, h *head, interrupted func() error) error {
	batch := db.badger.NewManagedWriteBatch()
	defer batch.Cancel()
	var events []past // of a stretch
	for n := 0; ; n++ {
		if n%checkEvery == 0 {
			if err := interrupted(); err != nil {
				return err
			}
		}
		m, err := in.next(h)
		if errors.Is(err, io.EOF) {
			return errors.Join(db.restoreStretch(batch, events), batch.Flush())
		}
		if err != nil {
			return err
		}
		if m.place[0] != spaceHistory {
			e := versionEntry(m.place, m.version)
			if err := e.addTo(batch); err != nil {
				return err
			}
			continue
		}
		p := past{index: m.index, trace: m.value, size: len(m.value)}
		if events = append(events, p); !p.endsStretch() {
			continue
		}
		if err := db.restoreStretch(batch, events); err != nil {
			return err
		}
		events = events[:0]
	}
}

func (d *database) restoreStretch(batch *badger.WriteBatch, events []past) error {
	if len(events) == 0 {
		return nil
	}
	e := d.stretchEntry(events, metaUnpacked)
	return e.addTo(batch)
}

// snapshotReader reads what Snapshot.WriteTo has written, and checks it.
type snapshotReader struct {
	in    *bufio.Reader
	sum   hash.Hash32
	count uint64
	value bytes.Buffer

	newest uint64 // event
}

func newSnapshotReader(r io.Reader) *snapshotReader {
	return &snapshotReader{in: bufio.NewReaderSize(r, 1<<18), sum: crc32.New(castagnoli)}
}

// bad turns an error of reading into one that says what it means.
func bad(what string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: %w: %w", what, err, ErrBadSnapshot)
}

// header reads everything before the records.
func (r *snapshotReader) header() (ledger, error) {
	magic, err := r.bytes(uint64(len(snapshotMagic)) + 1)
	if err != nil {
		return ledger{}, bad("header", err)
	}
	if magic[:len(snapshotMagic)] != snapshotMagic || magic[len(snapshotMagic)] != snapshotFormat {
		return ledger{}, fmt.Errorf("it begins with %q: %w", magic, ErrBadSnapshot)
	}
	raw, err := r.text()
	if err != nil {
		return ledger{}, bad("ledger", err)
	}
	l, err := decodeLedger(raw)
	if err != nil {
		return ledger{}, bad("ledger", err)
	}
	return l, nil
}

// next reads one version. io.EOF says that there are no more and that all that
// was read is what was written.
func (r *snapshotReader) next(h *head) (mutation, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return mutation{}, bad("record", err)
	}
	if kind == snapshotEnd {
		return mutation{}, r.trailer()
	}
	place, err := r.text()
	if err != nil {
		return mutation{}, bad("record", err)
	}
	index, err := binary.ReadUvarint(r)
	if err != nil {
		return mutation{}, bad("record", err)
	}
	m := mutation{place, version{index: index, gone: kind == snapshotEmptied}}
	if kind == snapshotValue {
		if m.value, err = r.text(); err != nil {
			return mutation{}, bad("record", err)
		}
	}
	if kind > snapshotEmptied || !validPlace(place) || index > h.frontier || place[0] == spaceHistory && !r.happened(&m) {
		return mutation{}, bad("record", errMalformed)
	}
	r.count++
	return m, nil
}

// happened tells whether a record of the history follows those before it.
func (r *snapshotReader) happened(m *mutation) bool {
	index, ok := historyIndex(m.place)
	ok = ok && index == m.index && index > r.newest && !m.gone
	r.newest = index
	return ok
}

func validPlace(place string) bool {
	return len(place) > 1 && len(place) <= maxKeyBytes+9 &&
		(place[0] == spaceNode || place[0] == spaceQueue || place[0] == spaceHistory)
}

// trailer checks the count and the checksum.
func (r *snapshotReader) trailer() error {
	count, err := binary.ReadUvarint(r)
	if err != nil {
		return bad("trailer", err)
	}
	if count != r.count {
		return fmt.Errorf("it has %d records and says %d: %w", r.count, count, ErrBadSnapshot)
	}
	want := r.sum.Sum32()
	var b [4]byte
	if _, err := io.ReadFull(r.in, b[:]); err != nil {
		return bad("trailer", err)
	}
	if got := binary.LittleEndian.Uint32(b[:]); got != want {
		return fmt.Errorf("its checksum is %08x, it should be %08x: %w", got, want, ErrBadSnapshot)
	}
	return io.EOF
}

// ReadByte makes the reader an io.ByteReader for varints.
func (r *snapshotReader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err == nil {
		_, _ = r.sum.Write([]byte{b})
	}
	return b, err
}

func (r *snapshotReader) text() (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	return r.bytes(n)
}

// bytes reads n bytes. A length that damage has made huge costs no memory that
// the data does not fill.
func (r *snapshotReader) bytes(n uint64) (string, error) {
	if n > 1<<40 {
		return "", errMalformed
	}
	r.value.Reset()
	if _, err := io.CopyN(&r.value, r.in, int64(n)); err != nil {
		return "", err
	}
	_, _ = r.sum.Write(r.value.Bytes())
	return r.value.String(), nil
}
