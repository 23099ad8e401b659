package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
)

// checkTables looks at the end of every table in a database before Badger
// does: Badger panics on a table that is cut off or has a damaged index, in a
// goroutine of its own, which nobody can recover from. It reads what Badger
// reads at start as well, about a hundredth of the data.
func checkTables(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, table := range tables {
		if err := checkTable(table); err != nil {
			return fmt.Errorf("store: %s: %w", table, err)
		}
	}
	return nil
}

// checkTable verifies the index of a table. A table ends with the index, its
// length, its checksum and the length of that, lengths in 4 bytes big-endian.
func checkTable(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := tableTail{f: f, end: info.Size()}
	sum := parseChecksum(tail.part())
	index := tail.part()
	if tail.err != nil {
		return tail.err
	}
	if y.CalculateChecksum(index, sum.Algo) != sum.Sum {
		return fmt.Errorf("the checksum of its index is wrong: %w", ErrDamaged)
	}
	return nil
}

// tableTail reads a table from its end.
type tableTail struct {
	f   *os.File
	end int64
	err error
}

// part returns the bytes in front of a length, and goes on in front of them.
func (t *tableTail) part() []byte {
	var n [4]byte
	t.read(n[:])
	b := make([]byte, min(int64(binary.BigEndian.Uint32(n[:])), t.end+1))
	t.read(b)
	return b
}

func (t *tableTail) read(b []byte) {
	if t.err != nil {
		return
	}
	if t.end -= int64(len(b)); t.end < 0 {
		t.end, t.err = 0, fmt.Errorf("it is cut off: %w", ErrDamaged)
		return
	}
	_, t.err = t.f.ReadAt(b, t.end)
}

// parseChecksum reads Badger's Checksum message: field 1 the algorithm, field
// 2 the sum.
func parseChecksum(b []byte) *pb.Checksum {
	sum := &pb.Checksum{}
	for in := (cursor{rest: string(b)}); in.rest != ""; {
		switch tag := in.uvarint(); tag {
		case 1 << 3:
			sum.Algo = pb.Checksum_Algorithm(in.uvarint())
		case 2 << 3:
			sum.Sum = in.uvarint()
		default:
			in.fail()
		}
	}
	return sum
}
