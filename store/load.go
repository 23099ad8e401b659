package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// Errors of BackupReader beside those of its source.
var (
	// ErrBackupCutOff says that a backup is shorter than it was: it was not
	// written or not copied to its end.
	ErrBackupCutOff = errors.New("the backup is cut off")
	// ErrBackupDamaged says that a backup is not what was written, or never was one.
	ErrBackupDamaged = errors.New("the backup is damaged")
)

// BackupReader reads a backup and checks everything that can be checked of it.
// What it has returned is certain only when Next has returned io.EOF.
type BackupReader struct {
	r      io.Reader
	info   BackupInfo
	unpack *zstd.Decoder
	offset uint64
	sum    hash.Hash
	end    backupEnd

	number uint64 // of the chunk that is being read
	packed []byte
	plain  []byte
	chunk  cursor
	nodes  uint64
	last   string              // place of the node before
	dirs   map[uint64]struct{} // hashes of the directories so far
}

// NewBackupReader reads the beginning of a backup.
func NewBackupReader(r io.Reader) (*BackupReader, error) {
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunkBytes))
	if err != nil {
		return nil, fmt.Errorf("store: backup: %w", err)
	}
	b := &BackupReader{r: r, unpack: unpack, sum: sha256.New(), dirs: map[uint64]struct{}{xxhash.Sum64String(""): {}}}
	if err := b.header(); err != nil {
		unpack.Close()
		return nil, err
	}
	return b, nil
}

// Close frees memory. It does not close the source.
func (b *BackupReader) Close() { b.unpack.Close() }

// Info says what the backup is of.
func (b *BackupReader) Info() BackupInfo { return b.info }

// Nodes returns how many nodes were read.
func (b *BackupReader) Nodes() uint64 { return b.nodes }

// SHA256 returns the checksum by which a backup tells itself from all others.
// It is known at the end.
func (b *BackupReader) SHA256() string { return b.end.SHA256 }

func (b *BackupReader) damaged(format string, args ...any) error {
	return fmt.Errorf("store: %w before byte %d: %s", ErrBackupDamaged, b.offset, fmt.Sprintf(format, args...))
}

// read fills p.
func (b *BackupReader) read(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.offset += uint64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("store: %w after %d bytes; it was not written or copied to its end", ErrBackupCutOff, b.offset)
	}
	if err != nil {
		return fmt.Errorf("store: read backup: %w", err)
	}
	return nil
}

// block reads a block and returns its letter and what it holds. The checksum
// of what was read before it is the sum that it may have to confirm.
func (b *BackupReader) block() (letter byte, content []byte, sum string, err error) {
	block := make([]byte, backupBlock)
	if err := b.read(block); err != nil {
		return 0, nil, "", err
	}
	want, err := makeBlock(block[8], block[9:backupBlock-4])
	if err != nil {
		return 0, nil, "", err
	}
	if !bytes.Equal(block, want) {
		if b.offset == backupBlock {
			return 0, nil, "", b.damaged("it does not begin as a backup of witan does")
		}
		return 0, nil, "", b.damaged("a block has the wrong checksum")
	}
	sum = hex.EncodeToString(b.sum.Sum(nil))
	_, _ = b.sum.Write(block)
	return block[8], bytes.TrimRight(block[9:backupBlock-4], "\x00"), sum, nil
}

func (b *BackupReader) header() error {
	letter, content, _, err := b.block()
	if err != nil {
		return err
	}
	var h backupHeader
	if err := json.Unmarshal(content, &h); err != nil || letter != blockHeader {
		return b.damaged("its header cannot be read")
	}
	if h.Format != backupFormat {
		return fmt.Errorf("store: the backup has the format %q, this version knows %q: use the version that wrote it, or a newer one",
			h.Format, backupFormat)
	}
	cluster, err := strconv.ParseUint(h.ClusterID, 16, 64)
	if err != nil || h.Groups < 1 {
		return b.damaged("its header makes no sense")
	}
	b.info = BackupInfo{ClusterID: cluster, Index: h.Index, Groups: h.Groups, Time: h.Time, Version: h.Version}
	return nil
}

// Next returns the next node: directories before what is in them. io.EOF says
// that there are no more and that all of them are what was written. The node
// is good until the next call.
func (b *BackupReader) Next() (SavedNode, error) {
	for b.chunk.rest == "" {
		if err := b.nextChunk(); err != nil {
			return SavedNode{}, err
		}
	}
	n, err := readSavedNode(&b.chunk)
	if err != nil {
		return SavedNode{}, b.damaged("node %d cannot be read", b.nodes+1)
	}
	if err := b.check(&n); err != nil {
		return SavedNode{}, err
	}
	b.nodes++
	return n, nil
}

// nextChunk goes to the next chunk, or finds the end.
func (b *BackupReader) nextChunk() error {
	if b.end.SHA256 != "" {
		return io.EOF
	}
	letter, content, sum, err := b.block()
	if err != nil {
		return err
	}
	switch letter {
	case blockChunk:
		head := make([]byte, 20)
		copy(head, content) // zeros at the end of a block are not returned
		return b.unpackChunk(decodeChunkHead(head))
	case blockEnd:
		return b.finish(content, sum)
	}
	return b.damaged("there is a block %q", letter)
}

func (b *BackupReader) unpackChunk(head chunkHead) error {
	b.number++
	if head.number != b.number || head.packed > maxChunkBytes || head.unpacked > maxChunkBytes || head.unpacked == 0 {
		return b.damaged("chunk %d is not where it belongs", head.number)
	}
	if b.packed = b.packed[:0]; cap(b.packed) < int(head.packed) {
		b.packed = make([]byte, head.packed)
	}
	b.packed = b.packed[:head.packed]
	if err := b.read(b.packed); err != nil {
		return err
	}
	_, _ = b.sum.Write(b.packed)
	if checksum(b.packed) != head.sum {
		return b.damaged("chunk %d has the wrong checksum", head.number)
	}
	plain, err := b.unpack.DecodeAll(b.packed, b.plain[:0])
	if err != nil || len(plain) != int(head.unpacked) {
		return b.damaged("chunk %d cannot be unpacked", head.number)
	}
	b.plain = plain
	b.chunk = cursor{rest: string(plain)}
	return nil
}

// finish checks what a backup says of itself at its end.
func (b *BackupReader) finish(content []byte, sum string) error {
	var end backupEnd
	if err := json.Unmarshal(content, &end); err != nil {
		return b.damaged("its end cannot be read")
	}
	if end.Nodes != b.nodes || end.SHA256 != sum {
		return b.damaged("it has %d nodes and the checksum %s, its end says %d and %s", b.nodes, sum, end.Nodes, end.SHA256)
	}
	if n, err := b.r.Read(make([]byte, 1)); n > 0 {
		return b.damaged("something follows its end")
	} else if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("store: read backup: %w", err)
	}
	b.end = end
	return io.EOF
}

// check looks whether a node fits to those before it, so that what is made of
// a backup is a tree, whoever wrote the file.
func (b *BackupReader) check(n *SavedNode) error {
	place := nodePlace(n.Key)
	switch _, inDir := b.dirs[xxhash.Sum64String(n.Key.Parent().path)]; {
	case place <= b.last:
		return b.damaged("%s is not where it belongs", n.Key)
	case !inDir:
		return b.damaged("%s is in no directory", n.Key)
	case n.ModifiedIndex > b.info.Index:
		return b.damaged("%s was changed at %d, after the backup's index %d", n.Key, n.ModifiedIndex, b.info.Index)
	}
	b.last = place
	if n.Dir {
		b.dirs[xxhash.Sum64String(n.Key.path)] = struct{}{}
	}
	return nil
}
