package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Backup is the whole tree, over all groups of a cluster, as it was right
// after one index. Apply and reads go on beside it; what it holds is kept on
// the disk until it is closed.
type Backup struct {
	info  BackupInfo
	pages []*pager
}

// NewBackup takes hold of the tree that the stores make up at info.Index,
// which none of them is behind. The caller closes it. The error has code 401
// if that tree is no longer kept.
func NewBackup(stores []*Store, info BackupInfo) (*Backup, error) {
	b := &Backup{info: info}
	for _, s := range stores {
		v, err := s.kv.since(info.Index)
		if err != nil {
			b.Close()
			return nil, s.unreadable(err)
		}
		b.pages = append(b.pages, &pager{store: s, view: v, at: info.Index, from: string(rune(spaceNode)), more: true})
	}
	return b, nil
}

// Info says what the backup is of.
func (b *Backup) Info() BackupInfo { return b.info }

// Close lets go of the tree.
func (b *Backup) Close() {
	for _, p := range b.pages {
		p.view.release()
	}
	b.pages = nil
}

// WriteTo writes the backup, once. Some megabytes of memory are used, however
// slow w is. It ends with ErrStopped when stop is closed and with ErrClosed
// when a store is; what was written then is no complete backup and does not
// look like one.
func (b *Backup) WriteTo(w io.Writer, stop <-chan struct{}) error {
	out, err := newBackupWriter(w, b.info)
	if err != nil {
		return err
	}
	for {
		first, err := b.lowest(stop)
		if err != nil {
			return fmt.Errorf("store: backup: %w", err)
		}
		if first == nil {
			return out.finish()
		}
		n, err := first.take()
		if err != nil {
			return fmt.Errorf("store: backup: %w", err)
		}
		if err := out.add(&n); err != nil {
			return err
		}
	}
}

// lowest returns the pager with the first place of all, nil at the end.
func (b *Backup) lowest(stop <-chan struct{}) (*pager, error) {
	var first *pager
	for _, p := range b.pages {
		if err := p.fill(stop); err != nil {
			return nil, err
		}
		if len(p.page) > 0 && (first == nil || p.page[0].place < first.page[0].place) {
			first = p
		}
	}
	return first, nil
}

// pageBytes and pageNodes bound what a pager has in memory.
const (
	pageBytes = 1 << 20
	pageNodes = 4096
)

// pager reads the nodes of one store page by page, so that no iterator, which
// holds tables and memory of Badger's, waits for a slow reader.
type pager struct {
	store *Store
	view  view
	at    uint64
	from  string // the first place not read yet
	more  bool   // there may be such places
	page  []mutation
}

// fill reads the next page if this one is used up.
func (p *pager) fill(stop <-chan struct{}) error {
	if len(p.page) > 0 || !p.more {
		return nil
	}
	if err := p.store.interrupted(stop)(); err != nil {
		return err
	}
	p.page = p.page[:0]
	var size int
	p.more = false
	err := p.view.scan(p.from, string(rune(spaceNode+1)), p.at, func(place string, v version) bool {
		p.page = append(p.page, mutation{place, v})
		size += len(place) + len(v.value)
		p.more = size >= pageBytes || len(p.page) >= pageNodes
		return !p.more
	})
	if p.more {
		p.from = p.page[len(p.page)-1].place + "\x00"
	}
	return p.store.suspect(err)
}

// take returns the next node.
func (p *pager) take() (SavedNode, error) {
	m := p.page[0]
	p.page = p.page[1:]
	k, ok := parseNodePlace(m.place)
	if !ok {
		return SavedNode{}, fmt.Errorf("store: read node: %w", errMalformed)
	}
	r, err := decodeRecord(m.value, m.index)
	if err != nil {
		return SavedNode{}, fmt.Errorf("store: read node: %w", err)
	}
	n := SavedNode{
		Key: k, Value: r.value, Dir: r.dir, CreatedIndex: r.created, ModifiedIndex: r.modified,
		HasTTL: r.hasTTL, Expiration: r.expiration,
	}
	if r.hasTTL {
		n.Left = time.Duration(max(r.deadline-p.view.head.clock, 0))
	}
	return n, nil
}

// backupWriter writes a backup file.
type backupWriter struct {
	w      io.Writer
	pack   *zstd.Encoder
	sum    hash.Hash // of all that was written
	chunk  []byte
	packed []byte
	number uint64
	nodes  uint64
}

// newBackupWriter begins a backup.
func newBackupWriter(w io.Writer, info BackupInfo) (*backupWriter, error) {
	pack, err := newPacker()
	if err != nil {
		return nil, err
	}
	out := &backupWriter{w: w, pack: pack, sum: sha256.New()}
	head, err := makeJSONBlock(blockHeader, backupHeader{
		Format: backupFormat, ClusterID: strconv.FormatUint(info.ClusterID, 16), Index: info.Index,
		Groups: info.Groups, Time: info.Time.UTC(), Version: info.Version,
	})
	if err != nil {
		return nil, err
	}
	return out, out.write(head)
}

func (o *backupWriter) write(b []byte) error {
	_, _ = o.sum.Write(b)
	if _, err := o.w.Write(b); err != nil {
		return fmt.Errorf("store: write backup: %w", err)
	}
	return nil
}

// add appends a node. Nodes come in order of their places.
func (o *backupWriter) add(n *SavedNode) error {
	o.chunk = n.appendTo(o.chunk)
	o.nodes++
	if len(o.chunk) < chunkBytes {
		return nil
	}
	return o.flush()
}

// flush writes the chunk that was begun.
func (o *backupWriter) flush() error {
	o.packed = o.pack.EncodeAll(o.chunk, o.packed[:0])
	o.number++
	head := chunkHead{
		number: o.number, packed: uint32(len(o.packed)), unpacked: uint32(len(o.chunk)), sum: checksum(o.packed),
	}
	o.chunk = o.chunk[:0]
	block, err := makeBlock(blockChunk, head.encode())
	if err != nil {
		return err
	}
	if err := o.write(block); err != nil {
		return err
	}
	return o.write(o.packed)
}

// finish writes what makes the backup complete.
func (o *backupWriter) finish() error {
	if len(o.chunk) > 0 {
		if err := o.flush(); err != nil {
			return err
		}
	}
	end, err := makeJSONBlock(blockEnd, backupEnd{Nodes: o.nodes, SHA256: hex.EncodeToString(o.sum.Sum(nil))})
	if err != nil {
		return err
	}
	return o.write(end)
}

// checksum is the CRC of everything this package writes into files.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
