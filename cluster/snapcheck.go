package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The parts of one of Dragonboat's snapshot files: a header, which is a length
// of 8 bytes little-endian, as much protobuf and zeros; blocks
// with their CRC-32 behind them; the length of those and 8 bytes that never
// change.
const (
	snapshotHeader = 1024
	snapshotBlock  = 2 << 20
	snapshotTail   = 16
)

var errSnapshotDamaged = errors.New("the snapshot is damaged")

// checkSnapshot verifies the snapshot that the meta group's log continues.
// Dragonboat panics on a damaged one, in a goroutine of its own.
func checkSnapshot(dir string, shard, replica, index uint64) error {
	name := fmt.Sprintf("snapshot-%016X", index)
	found, err := filepath.Glob(filepath.Join(dir, "*", "*", "snapshot-part-*", fmt.Sprintf("snapshot-%d-%d", shard, replica), name, name+".gbsnap"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s is gone", name)
	}
	for _, path := range found {
		b, err := os.ReadFile(path) // of the table of members
		if err != nil {
			return err
		}
		if !soundSnapshot(b) {
			return fmt.Errorf("%s: %w", path, errSnapshotDamaged)
		}
	}
	return nil
}

func soundSnapshot(b []byte) bool {
	if len(b) < snapshotHeader+snapshotTail {
		return false
	}
	head, blocks, tail := b[:snapshotHeader], b[snapshotHeader:len(b)-snapshotTail], b[len(b)-snapshotTail:]
	n := binary.LittleEndian.Uint64(head)
	if n > snapshotHeader-8 || !soundHeader(head[8:][:n]) || binary.LittleEndian.Uint64(tail) != uint64(len(blocks)) {
		return false
	}
	if !bytes.Equal(tail[8:], []byte{0x3f, 0x5b, 0xcb, 0xf1, 0xfa, 0xba, 0x81, 0x9f}) {
		return false
	}
	for len(blocks) > 0 {
		size := min(len(blocks), snapshotBlock+4)
		if size <= 4 || !followedBySum(blocks[:size]) {
			return false
		}
		blocks = blocks[size:]
	}
	return true
}

// soundHeader reports whether one field of a header, of 4 bytes behind its
// tag and length, is the CRC-32 of the others.
func soundHeader(b []byte) bool {
	for i := 0; i+6 <= len(b); i++ {
		sum := crc32.Update(crc32.ChecksumIEEE(b[:i]), crc32.IEEETable, b[i+6:])
		if b[i+1] == 4 && sum == binary.BigEndian.Uint32(b[i+2:]) {
			return true
		}
	}
	return false
}

// followedBySum reports whether the last four bytes are the CRC-32 of those before.
func followedBySum(b []byte) bool {
	at := len(b) - 4
	return crc32.ChecksumIEEE(b[:at]) == binary.BigEndian.Uint32(b[at:])
}
