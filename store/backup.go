package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A backup is a file that says what it is and whether it is whole:
//
//	block 'H'                     BackupInfo as JSON
//	block 'C' zstd-frame, …       nodes, in order of their places
//	block 'E'                     backupEnd as JSON
//
// A block has 512 bytes: the head of a skippable zstd frame (magic and length,
// 4 bytes each, little-endian), the letter, what it holds, zeros, and the
// CRC-32C of all that. So a block's length cannot be damaged without being
// noticed, and a file that ends early is told from one that was altered. The
// whole is a valid zstd file.
//
// Block 'C' holds, little-endian: the chunk's number (8 bytes), the lengths of
// the frame that follows and of what is in it, and the frame's CRC-32C (4
// bytes each). In the frame are nodes, one after the other:
//
//	flags(1: directory, 2: TTL) path created modified-created
//	    [nanoseconds left, shown expiration]   with a TTL
//	    [value]                                of a file
//
// Numbers are varints, texts have their length in front. Directories come
// before what is in them, because places sort by the length of the parent.
const (
	backupFormat = "witan-backup/1"

	backupBlock     = 512
	backupBlockText = backupBlock - 8 - 1 - 4
	skippableMagic  = 0x184d2a57

	blockHeader = 'H'
	blockChunk  = 'C'
	blockEnd    = 'E'

	// chunkBytes is from how many bytes of nodes on a chunk is closed, and
	// maxChunkBytes the most a reader believes in: far more than one value.
	chunkBytes    = 1 << 20
	maxChunkBytes = 256 << 20

	savedDir = 1
	savedTTL = 2
)

// BackupInfo says what a backup is of.
type BackupInfo struct {
	ClusterID uint64
	Index     uint64    // every change up to here is in it, and none after
	Groups    int       // key groups of the cluster it was taken from
	Time      time.Time // when it was taken, by the clock of the member
	Version   string    // of the program
}

// backupHeader is BackupInfo in a file.
type backupHeader struct {
	Format    string    `json:"format"`
	ClusterID string    `json:"clusterID"`
	Index     uint64    `json:"index"`
	Groups    int       `json:"groups"`
	Time      time.Time `json:"time"`
	Version   string    `json:"version"`
}

// backupEnd closes a backup.
type backupEnd struct {
	Nodes  uint64 `json:"nodes"`
	SHA256 string `json:"sha256"` // of everything before this block
}

// SavedNode is a node as a backup keeps it, hidden ones included. The root is
// not among them.
type SavedNode struct {
	Key                         Key
	Value                       string // files only
	Dir                         bool
	CreatedIndex, ModifiedIndex uint64
	HasTTL                      bool
	Left                        time.Duration // until it expires on the group clock; with HasTTL
	Expiration                  int64         // shown to clients, Unix nanoseconds; with HasTTL
}

// appendTo appends the node as it is kept in a chunk.
func (n *SavedNode) appendTo(b []byte) []byte {
	var flags byte
	if n.Dir {
		flags |= savedDir
	}
	if n.HasTTL {
		flags |= savedTTL
	}
	b = append(b, flags)
	b = appendText(b, n.Key.path)
	b = binary.AppendUvarint(b, n.CreatedIndex)
	b = binary.AppendUvarint(b, n.ModifiedIndex-n.CreatedIndex)
	if n.HasTTL {
		b = binary.AppendUvarint(b, uint64(n.Left))
		b = binary.AppendVarint(b, n.Expiration)
	}
	if !n.Dir {
		b = appendText(b, n.Value)
	}
	return b
}

// readSavedNode is the inverse of appendTo. The node shares in's memory.
func readSavedNode(in *cursor) (SavedNode, error) {
	flags := in.byte()
	n := SavedNode{Dir: flags&savedDir != 0, HasTTL: flags&savedTTL != 0}
	n.Key.path = in.text()
	n.CreatedIndex = in.uvarint()
	n.ModifiedIndex = n.CreatedIndex + in.uvarint()
	if n.HasTTL {
		n.Left, n.Expiration = time.Duration(in.uvarint()), in.varint()
	}
	if !n.Dir {
		n.Value = in.text()
	}
	if flags > savedDir|savedTTL || n.Left < 0 || n.ModifiedIndex < n.CreatedIndex ||
		n.Key.IsRoot() || !canonical(n.Key.path) || len(n.Key.path) > maxKeyBytes {
		in.fail()
	}
	return n, in.err
}

// errBlockTooLong cannot happen to what is written today.
var errBlockTooLong = errors.New("store: a block of a backup is too long")

// makeBlock returns a block that holds content.
func makeBlock(letter byte, content []byte) ([]byte, error) {
	if len(content) > backupBlockText {
		return nil, errBlockTooLong
	}
	b := make([]byte, backupBlock)
	binary.LittleEndian.PutUint32(b, skippableMagic)
	binary.LittleEndian.PutUint32(b[4:], backupBlock-8)
	b[8] = letter
	copy(b[9:], content)
	binary.LittleEndian.PutUint32(b[backupBlock-4:], checksum(b[:backupBlock-4]))
	return b, nil
}

func makeJSONBlock(letter byte, v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("store: backup: %w", err)
	}
	return makeBlock(letter, content)
}

// chunkHead is what a block 'C' says of the frame behind it.
type chunkHead struct {
	number           uint64
	packed, unpacked uint32
	sum              uint32
}

func (c *chunkHead) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, c.number)
	b = binary.LittleEndian.AppendUint32(b, c.packed)
	b = binary.LittleEndian.AppendUint32(b, c.unpacked)
	return binary.LittleEndian.AppendUint32(b, c.sum)
}

func decodeChunkHead(b []byte) chunkHead {
	return chunkHead{
		number: binary.LittleEndian.Uint64(b),
		packed: binary.LittleEndian.Uint32(b[8:]), unpacked: binary.LittleEndian.Uint32(b[12:]),
		sum: binary.LittleEndian.Uint32(b[16:]),
	}
}

// newPacker returns a compressor that costs a busy member little: it is fast,
// works on the caller's goroutine, and its memory is about the window's.
func newPacker() (*zstd.Encoder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(chunkBytes), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("store: backup: %w", err)
	}
	return e, nil
}
