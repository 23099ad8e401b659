package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// witness tells how far a database had come, so that one that has lost its
// end can be told from one whose last write a crash cut short: to Badger both
// look the same. It is written when what it speaks of is on the disk, and synced
// itself only when there are new tables. So it is exact after kill -9, but for the last tenth of a second of the tables, and after a
// power cut it may know less of the log than there is, never more.
type witness struct {
	ledger uint64 // version of the newest ledger record
	table  uint64 // highest number of a table
}

const (
	witnessFile = "WITNESS"
	witnessSize = 20
)

// encode returns both numbers, 8 bytes little-endian each, and their CRC-32C.
func (w witness) encode() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, witnessSize), w.ledger)
	b = binary.LittleEndian.AppendUint64(b, w.table)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openWitness opens the witness of a database, or makes it. One that cannot be
// read has nothing to say: it is no data.
func openWitness(dir string) (f *os.File, w witness, err error) {
	if f, err = os.OpenFile(filepath.Join(dir, witnessFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, w, fmt.Errorf("store: %w", err)
	}
	b := make([]byte, witnessSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, w, errors.Join(fmt.Errorf("store: %w", err), f.Close())
	}
	said := witness{ledger: binary.LittleEndian.Uint64(b), table: binary.LittleEndian.Uint64(b[8:])}
	if string(said.encode()) == string(b) {
		w = said
	}
	return f, w, nil
}

// testify writes down how far the database has come. It does not matter if it cannot, but that an fsync fails is for those to know who look
// after the disk.
func (d *database) testify(now witness) {
	d.testifying.Lock()
	defer d.testifying.Unlock()
	now.ledger, now.table = max(now.ledger, d.said.ledger), max(now.table, d.said.table)
	if now == d.said || d.witness == nil {
		return
	}
	if _, err := d.witness.WriteAt(now.encode(), 0); err != nil {
		return
	}
	if now.table > d.said.table {
		if err := d.witness.Sync(); err != nil {
			d.heard.failed.note(fmt.Errorf("store: %w", err))
			return
		}
	}
	d.said = now
}

// testifyTables tells the witness of new tables if the manifest has changed, and once more after that: what is there
// to be seen has been synced a moment later. Only the patrol calls it.
func (d *database) testifyTables() {
	info, err := os.Stat(manifestPath(d.dir))
	if err != nil {
		return // it is being replaced
	}
	changed := info.Size() != d.noted
	if changed || d.again {
		d.testify(witness{table: d.newestTable()})
	}
	d.noted, d.again = info.Size(), changed
}

// newestTable returns the highest number of a table that is in use.
func (d *database) newestTable() (highest uint64) {
	if d.badger.IsClosed() {
		return 0
	}
	for _, t := range d.badger.Tables() {
		highest = max(highest, t.ID)
	}
	return highest
}

// contradicted returns an error if the database has less than its witness saw.
func (d *database) contradicted(manifest uint64) error {
	switch {
	case d.ledger < d.said.ledger:
		return fmt.Errorf("its log ends at commit %d, and had gone to %d: %w", d.ledger, d.said.ledger, ErrDamaged)
	case manifest < d.said.table:
		return fmt.Errorf("its MANIFEST ends at table %d, and had gone to %d: %w", manifest, d.said.table, ErrDamaged)
	}
	return nil
}
