package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is a kind, the length and the CRC-32C of its payload, and the payload.
const (
	frameMessages byte = 1 // a raftpb.MessageBatch
	frameChunk    byte = 2 // a raftpb.Chunk of a snapshot

	frameHeader = 9

	// maxFrame is above the largest batch Dragonboat makes: 64 MiB of
	// messages and one entry more, where an entry is a command of a few MiB.
	maxFrame = 128 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errFrameTooBig  = errors.New("peer: a frame is larger than any this cluster sends")
	errFrameCorrupt = errors.New("peer: a frame's checksum is wrong")
)

// putFrameHeader fills the first frameHeader bytes of b, whose payload follows.
func putFrameHeader(b []byte, kind byte) {
	payload := b[frameHeader:]
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[5:], crc32.Checksum(payload, castagnoli))
}

// readFrame reads one frame. buf is reused for the payload when it is large
// enough. Memory grows with what arrives, not with what a header announces.
func readFrame(r io.Reader, buf *bytes.Buffer) (kind byte, payload []byte, err error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(h[1:])
	if size > maxFrame {
		return 0, nil, errFrameTooBig
	}
	buf.Reset()
	if _, err := io.CopyN(buf, r, int64(size)); err != nil {
		return 0, nil, fmt.Errorf("peer: read a frame of %d bytes: %w", size, err)
	}
	if crc32.Checksum(buf.Bytes(), castagnoli) != binary.BigEndian.Uint32(h[5:]) {
		return 0, nil, errFrameCorrupt
	}
	return h[0], buf.Bytes(), nil
}
