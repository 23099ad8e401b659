package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/klauspost/compress/snappy"
)

// checkTables reads the tables of a database and verifies all that is in them,
// before Badger does. Badger panics on a table that is cut off or has a damaged
// index, in a goroutine of its own, which nobody can recover from. And a block
// with a wrong checksum it takes for the end of the table, without a word: a
// reader is told that the keys are not there, and a compaction, which may begin
// as soon as the database is open, writes what is left to a sound table and
// removes the damaged one.
//
// 1 GB in the page cache takes 0.7 to 1.2 s on two cores that others use, too.
func checkTables(dir string, all tables) error {
	next := make(chan string)
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(all)))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for path := range next {
				if err := checkTable(path); err != nil {
					errs[i] = errors.Join(errs[i], err)
				}
			}
		})
	}
	for number := range all {
		next <- tablePath(dir, number)
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

func tablePath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%06d.sst", number))
}

// checkTable verifies a table. It begins with blocks, one after the other, and ends with the index that tells where
// they are, its length, its checksum and the length of that, lengths in 4 bytes big-endian.
func checkTable(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: %s: %w", path, err)
		}
	}()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, ErrDamaged)
	}
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
	if len(index) == 0 || y.CalculateChecksum(index, sum.Algo) != sum.Sum {
		return fmt.Errorf("the checksum of its index is wrong: %w", ErrDamaged)
	}
	return checkBlocks(io.NewSectionReader(f, 0, tail.end), fb.GetRootAsTableIndex(index, 0))
}

// checkBlocks verifies the blocks of a table, which fill what is in front of the index.
func checkBlocks(r *io.SectionReader, index *fb.TableIndex) error {
	in := bufio.NewReaderSize(r, 1<<18)
	var at uint64
	var raw, plain []byte
	var o fb.BlockOffset
	for i := range index.OffsetsLength() {
		if !index.Offsets(&o, i) || uint64(o.Offset()) != at || at+uint64(o.Len()) > uint64(r.Size()) {
			return fmt.Errorf("block %d is not where it belongs: %w", i, ErrDamaged)
		}
		raw = slices.Grow(raw[:0], int(o.Len()))[:o.Len()]
		if _, err := io.ReadFull(in, raw); err != nil {
			return err
		}
		var err error
		if plain, err = snappy.Decode(plain[:cap(plain)], raw); err != nil || !soundBlock(plain) {
			return fmt.Errorf("the checksum of the block at byte %d is wrong: %w", at, ErrDamaged)
		}
		at += uint64(o.Len())
	}
	if at != uint64(r.Size()) {
		return fmt.Errorf("byte %d belongs to no block: %w", at, ErrDamaged)
	}
	return nil
}

// soundBlock reports whether a block is what was written: it ends with its
// checksum and the length of that.
func soundBlock(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	rest, n := b[:len(b)-4], uint64(binary.BigEndian.Uint32(b[len(b)-4:]))
	if n > uint64(len(rest)) {
		return false
	}
	content, raw := rest[:uint64(len(rest))-n], rest[uint64(len(rest))-n:]
	sum := parseChecksum(raw)
	return y.CalculateChecksum(content, sum.Algo) == sum.Sum
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
// 2 the sum. What it cannot read is the checksum of nothing.
func parseChecksum(b []byte) *pb.Checksum {
	sum := &pb.Checksum{}
	in := cursor{rest: string(b)}
	for in.rest != "" && in.err == nil {
		switch tag := in.uvarint(); tag {
		case 1 << 3:
			sum.Algo = pb.Checksum_Algorithm(in.uvarint())
		case 2 << 3:
			sum.Sum = in.uvarint()
		default:
			in.fail()
		}
	}
	if in.err != nil || len(b) == 0 || sum.Algo != pb.Checksum_CRC32C && sum.Algo != pb.Checksum_XXHash64 {
		return &pb.Checksum{Sum: ^uint64(0)} // no CRC-32C is that high
	}
	return sum
}
