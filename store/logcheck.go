package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
