package powerfs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const pageSize = 4096

type page [pageSize]byte

// zero is the page that was allocated and never written.
var zero = new(page)

// content is a sparse file. Pages are shared between what is seen and what is durable, and copied before they are changed.
type content struct {
	size  int64
	pages map[int64]*page
}

// inode is a file or a directory, as it is seen and as it would be after a power cut.
type inode struct {
	id    uint64
	mode  uint32 // with the type bits
	mtime time.Time

	seen, durable content
	dirty         map[int64]struct{} // pages in which they may differ
	dropped       map[int64]struct{} // pages that differ and will not be synced: an fsync failed

	names int // it has

	entries, durableEntries map[string]*inode // of a directory
}

func newInode(id uint64, mode uint32) *inode {
	n := &inode{id: id, mode: mode, mtime: time.Now(), dirty: map[int64]struct{}{}, dropped: map[int64]struct{}{}}
	n.seen.pages, n.durable.pages = map[int64]*page{}, map[int64]*page{}
	n.entries, n.durableEntries = map[string]*inode{}, map[string]*inode{}
	return n
}

// writable is page i for writing, not shared with what is durable.
func (n *inode) writable(i int64) *page {
	n.touch(i)
	p := n.seen.pages[i]
	switch p {
	case nil, zero:
		p = new(page)
	case n.durable.pages[i]:
		clone := *p
		p = &clone
	default:
		return p
	}
	n.seen.pages[i] = p
	return p
}

// touch notes that page i differs from what is durable.
func (n *inode) touch(i int64) {
	n.dirty[i] = struct{}{}
	delete(n.dropped, i)
}

// missing is how many pages of [from, to) are not allocated.
func (n *inode) missing(from, to int64) (pages int64) {
	for i := from / pageSize; i*pageSize < to; i++ {
		if n.seen.pages[i] == nil {
			pages++
		}
	}
	return pages
}

// allocate allocates what is missing of [from, to).
func (n *inode) allocate(from, to int64) {
	for i := from / pageSize; i*pageSize < to; i++ {
		if n.seen.pages[i] == nil {
			n.seen.pages[i] = zero // which says no more than no page
		}
	}
}

// pages is how many pages are in use here and below.
func (n *inode) pages(visited map[*inode]bool) int64 {
	if visited[n] {
		return 0
	}
	visited[n] = true
	used := int64(len(n.seen.pages)) + 1
	for _, child := range n.entries {
		used += child.pages(visited)
	}
	return used
}

func (n *inode) write(data []byte, off int64) {
	for len(data) > 0 {
		i, at := off/pageSize, off%pageSize
		k := copy(n.writable(i)[at:], data)
		data, off = data[k:], off+int64(k)
	}
	n.seen.size = max(n.seen.size, off)
	n.mtime = time.Now()
}

func (n *inode) read(dest []byte, off int64) int {
	dest = dest[:max(0, min(int64(len(dest)), n.seen.size-off))]
	for done := 0; done < len(dest); {
		at := (off + int64(done)) % pageSize
		k := min(len(dest)-done, int(pageSize-at))
		if p := n.seen.pages[(off+int64(done))/pageSize]; p != nil {
			copy(dest[done:done+k], p[at:])
		} else {
			clear(dest[done : done+k])
		}
		done += k
	}
	return len(dest)
}

// resize truncates or extends; what is beyond the end reads as zero when the file grows again.
func (n *inode) resize(size int64) {
	if size <= n.seen.size {
		n.clear(size, math.MaxInt64)
	}
	n.seen.size = size
	n.mtime = time.Now()
}

// clear zeroes [from, to).
func (n *inode) clear(from, to int64) {
	for i := range n.seen.pages {
		begin, end := max(from, i*pageSize), min(to, (i+1)*pageSize)
		switch {
		case begin >= end:
		case end-begin == pageSize || (begin == i*pageSize && to >= n.seen.size):
			delete(n.seen.pages, i)
			n.touch(i)
		default:
			clear(n.writable(i)[begin-i*pageSize : end-i*pageSize])
		}
	}
}

// sync makes the content durable.
func (n *inode) sync() {
	for i := range n.dirty {
		if p := n.seen.pages[i]; p != nil {
			n.durable.pages[i] = p
		} else {
			delete(n.durable.pages, i)
		}
	}
	n.durable.size = n.seen.size
	clear(n.dirty)
}

// fail is an fsync that fails: what it should have made durable is taken for clean.
func (n *inode) fail() {
	maps.Copy(n.dropped, n.dirty)
	clear(n.dirty)
}

// syncSize makes the size durable without the content: what is new reads as zero, what is cut off is gone.
func (n *inode) syncSize() {
	size := n.seen.size
	for i, p := range n.durable.pages {
		switch begin := i * pageSize; {
		case begin >= size:
			delete(n.durable.pages, i)
		case begin+pageSize > size:
			short := *p
			clear(short[size-begin:])
			n.durable.pages[i] = &short
		}
		if n.seen.pages[i] != n.durable.pages[i] {
			n.touch(i)
		}
	}
	n.durable.size = size
}

// lose goes back to what is durable, here and below.
func (n *inode) lose(l *Loss, visited map[*inode]bool) {
	if visited[n] {
		return
	}
	visited[n] = true
	l.Pages += len(n.dirty) + len(n.dropped)
	n.seen = content{size: n.durable.size, pages: maps.Clone(n.durable.pages)}
	clear(n.dirty)
	clear(n.dropped)
	n.names = 0
	for name, child := range n.entries {
		if n.durableEntries[name] != child {
			l.Entries++
		}
	}
	for name := range n.durableEntries {
		if n.entries[name] == nil {
			l.Entries++
		}
	}
	n.entries = maps.Clone(n.durableEntries)
	for _, child := range n.entries {
		child.lose(l, visited)
		child.names++
	}
}

// save writes a directory's files, here and below. Pages that were never written stay holes.
func (n *inode) save(dir string) error {
	for name, child := range n.entries {
		path := filepath.Join(dir, name)
		var err error
		if child.mode&syscall.S_IFMT == syscall.S_IFDIR {
			if err = os.MkdirAll(path, 0o700); err == nil {
				err = child.save(path)
			}
		} else {
			err = child.saveFile(path)
		}
		if err != nil {
			return fmt.Errorf("powerfs: save: %w", err)
		}
	}
	return nil
}

func (n *inode) saveFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for i, p := range n.seen.pages {
		if p == zero {
			continue
		}
		if _, err := f.WriteAt(p[:], i*pageSize); err != nil {
			return err
		}
	}
	return f.Truncate(n.seen.size)
}
