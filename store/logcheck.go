package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// checkMemtables verifies the logs of memtables, in which Badger takes
// everything from the first wrong checksum on for a write that a crash cut
// short. That it may be in the newest log only: before there was another one,
// all that is in a log was on the disk. Whether something is missing at the
// end of the newest the witness tells.
func checkMemtables(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	slices.Sort(logs)
	for _, path := range logs[:max(len(logs), 1)-1] {
		if err := checkMemtable(path); err != nil {
			return fmt.Errorf("store: %s: %w", path, err)
		}
	}
	return nil
}

// logHeader is what a log begins with: the key it is encrypted with, none, and
// random bytes for that.
const logHeader = 20

// checkMemtable verifies a log: entries and then zeros.
func checkMemtable(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := logReader{in: bufio.NewReaderSize(f, 1<<18), left: info.Size()}
	if in.take(min(logHeader, in.left)); in.err != nil {
		return in.err
	}
	for in.entry() {
	}
	if in.err != nil {
		return in.err
	}
	for in.left > 0 {
		for _, b := range in.take(min(in.left, 1<<16)) {
			if b != 0 {
				return fmt.Errorf("something follows its end: %w", ErrDamaged)
			}
		}
		if in.err != nil {
			return in.err
		}
	}
	return nil
}

// logReader reads entries: a header, key, value, and the CRC-32C of those in 4 bytes big-endian.
type logReader struct {
	in   *bufio.Reader
	left int64
	buf  []byte
	err  error
}

// take returns the next n bytes until the next call.
func (r *logReader) take(n int64) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.left {
		r.err = fmt.Errorf("an entry is cut off: %w", ErrDamaged)
		return nil
	}
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	_, r.err = io.ReadFull(r.in, r.buf)
	r.left -= n
	return r.buf
}

// maxLogHeader bounds two bytes and three varints.
const maxLogHeader = 22

// entry reads an entry, and reports whether there may be another one.
func (r *logReader) entry() bool {
	head, err := r.in.Peek(int(min(maxLogHeader, r.left)))
	if err != nil {
		r.err = err
	}
	if r.err != nil || len(head) < 4 || head[2] == 0 { // no key: the end
		return false
	}
	size := 2
	var lengths [3]uint64
	for i := range lengths {
		n, width := binary.Uvarint(head[size:])
		if width <= 0 {
			r.err = fmt.Errorf("an entry cannot be read: %w", ErrDamaged)
			return false
		}
		lengths[i], size = n, size+width
	}
	content := uint64(size) + lengths[0] + lengths[1]
	if lengths[0] > uint64(r.left) || lengths[1] > uint64(r.left) {
		r.err = fmt.Errorf("an entry is cut off: %w", ErrDamaged)
		return false
	}
	b := r.take(int64(content) + 4)
	if r.err == nil && crc32.Checksum(b[:content], castagnoli) != binary.BigEndian.Uint32(b[content:]) {
		r.err = fmt.Errorf("the checksum of an entry is wrong: %w", ErrDamaged)
	}
	return r.err == nil
}

// manifestTables returns the tables of a database by its manifest, and the
// highest number of one that the manifest speaks of. Badger takes whatever it cannot read at the end of a
// manifest for a write that a crash cut short, removes the tables that were
// named there and says nothing: the witness knows how far it went. Other tables
// that lie about are what a crash has left of making them.
func manifestTables(dir string) (live map[uint64]struct{}, highest uint64, err error) {
	live = map[uint64]struct{}{}
	b, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if errors.Is(err, fs.ErrNotExist) {
		return live, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("store: %w", err)
	}
	manifestChanges(b, func(number uint64, gone bool) {
		if highest = max(highest, number); gone {
			delete(live, number)
		} else {
			live[number] = struct{}{}
		}
	})
	return live, highest, nil
}

// manifestChanges calls each for the tables that a manifest names, in order.
func manifestChanges(b []byte, each func(number uint64, gone bool)) {
	const magic, head = 8, 8
	for at := magic; at+head <= len(b); {
		end := at + head + int(binary.BigEndian.Uint32(b[at:]))
		if end > len(b) {
			break
		}
		tableChanges(string(b[at+head:end]), each)
		at = end
	}
}

// tableChanges reads a change of the manifest, which is protobuf: field 1 is repeated and holds one table's,
// whose field 1 is its number, and whose field 2 is 1 when it is gone.
func tableChanges(change string, each func(number uint64, gone bool)) {
	in := cursor{rest: change}
	for in.rest != "" && in.err == nil && in.uvarint() == 1<<3|2 {
		table := cursor{rest: in.text()}
		var number, op uint64
		for table.rest != "" && table.err == nil {
			switch field := table.uvarint(); field {
			case 1 << 3:
				number = table.uvarint()
			case 2 << 3:
				op = table.uvarint()
			default:
				table.uvarint() // the others are numbers, too
			}
		}
		if in.err == nil && table.err == nil {
			each(number, op == 1)
		}
	}
}
