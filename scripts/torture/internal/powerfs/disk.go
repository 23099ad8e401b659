package powerfs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Entries says what makes a name durable: the creation, renaming or removal of a file.
type Entries string

const (
	// Kept makes names durable at once. Only content can be lost.
	Kept Entries = "kept"
	// Ordered makes all names, and sizes set by truncate, durable with the next fsync of anything, as ext4's journal does when all of
	// them are in one transaction.
	Ordered Entries = "ordered"
	// Journaled makes all names durable with the next fsync of anything, but sizes only with that of the file: a commit
	// fell between the making of a file and its first truncate.
	Journaled Entries = "journaled"
	// Strict makes a directory's names durable with an fsync of that directory only, which is all POSIX promises. Witan is known
	// to fail on it, on a lone member after some twenty cuts: Badger (4.9.6, handleMemTableFlush) enters a flushed
	// table in its MANIFEST, and syncs that, before anything syncs the directory, so that the MANIFEST names a table that is gone. Nobody can step in
	// between. The store is found damaged then and rebuilt from another member. On ext4, XFS and Btrfs the fsync of the table makes its name durable.
	Strict Entries = "strict"
)

// Options says how a disk treats what was not synced.
type Options struct {
	Entries Entries
	// Lying ignores every fsync, as disks with a volatile cache do that do not own up to it. A server that loses nothing on
	// such a disk was not put to the test.
	Lying bool
	// Silent makes failed fsyncs succeed as far as anybody can tell. A run with fsync errors on such a disk must show what they cost.
	Silent bool
	// Capacity is its size in bytes, 64 GiB if 0.
	Capacity int64
}

// Loss is what a power cut took.
type Loss struct {
	Pages   int // written and not synced, or not by an fsync that failed
	Entries int // names made, moved or removed and not synced
}

// Disk is a file system in memory that outlives its mounts. Its methods are safe for concurrent use.
type Disk struct {
	options Options

	mu      sync.Mutex
	root    *inode
	last    uint64          // inode number
	changed map[*inode]bool // directories with names that are not durable
	resized map[*inode]bool // files with sizes that are not durable, if Ordered
	cut     bool            // the power is off: every request fails
	syncs   int             // fsyncs that counted
	server  *fuse.Server    // nil while not mounted
	dir     string          // where it is mounted

	faults Faults
	bites  Bites
	used   int64     // pages
	others int64     // pages in use by others
	idle   time.Time // when all is done that was asked for, with a Rate
}

// New returns an empty disk.
func New(o Options) *Disk {
	o.Capacity = cmp.Or(o.Capacity, capacity)
	return &Disk{options: o, root: newInode(1, syscall.S_IFDIR|0o755), last: 1, changed: map[*inode]bool{}, resized: map[*inode]bool{}}
}

// Possible says whether such a disk can be mounted here, and if not why.
func Possible() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("powerfs: FUSE is needed: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("powerfs: FUSE is needed: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("powerfs: only root may mount without fusermount")
	}
	return nil
}

// Mount makes the disk visible at a directory.
func (d *Disk) Mount(dir string) error {
	forever := time.Hour // nobody but the kernel changes anything
	server, err := fs.Mount(dir, &node{disk: d, inode: d.root}, &fs.Options{
		EntryTimeout: &forever, AttrTimeout: &forever,
		MountOptions: fuse.MountOptions{FsName: "powerfs", Name: "powerfs", DirectMount: true, MaxWrite: 1 << 20, DisableXAttrs: true},
	})
	if err != nil {
		return fmt.Errorf("powerfs: mount: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.server, d.dir = server, dir
	return nil
}

// Unmount takes the disk away, lazily if something still holds it. What was not synced stays.
func (d *Disk) Unmount() error {
	d.mu.Lock()
	server, dir := d.server, d.dir
	d.server = nil
	d.mu.Unlock()
	if server == nil {
		return nil
	}
	if err := syscall.Unmount(dir, 0); err != nil {
		if err = syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("powerfs: unmount: %w", err)
		}
		return nil
	}
	server.Wait()
	return nil
}

// Cut ends the power: the disk is unmounted and forgets what was not synced. The processes that used it must have been killed before, so
// that none can take an error of the dying disk for an answer. It can be mounted again afterwards.
func (d *Disk) Cut() (Loss, error) {
	d.mu.Lock()
	d.cut = true
	d.mu.Unlock()
	if err := d.Unmount(); err != nil {
		return Loss{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var l Loss
	d.root.lose(&l, map[*inode]bool{})
	clear(d.changed)
	clear(d.resized)
	d.used = d.root.pages(map[*inode]bool{})
	d.cut = false
	return l, nil
}

// Save writes what is on the disk, synced or not, to a directory of another file system. The disk must not be mounted.
func (d *Disk) Save(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.root.save(dir)
}

// Syncs is the number of fsyncs so far that made something durable.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// syncLocked is one fsync of a file or directory.
func (d *Disk) syncLocked(n *inode) {
	if d.options.Lying {
		return
	}
	d.syncs++
	n.sync()
	if d.options.Entries == Journaled || d.options.Entries == Ordered {
		for file := range d.resized {
			file.syncSize()
		}
		clear(d.resized)
		for dir := range d.changed {
			dir.durableEntries = maps.Clone(dir.entries)
		}
		clear(d.changed)
		return
	}
	if d.changed[n] {
		n.durableEntries = maps.Clone(n.entries)
		delete(d.changed, n)
	}
}

// renamedLocked notes that the names in a directory were changed.
func (d *Disk) renamedLocked(dir *inode) {
	dir.mtime = time.Now()
	if d.options.Entries == Kept {
		dir.durableEntries = maps.Clone(dir.entries)
		return
	}
	d.changed[dir] = true
}

// resizedLocked notes that a file's size was set by other means than a write.
func (d *Disk) resizedLocked(n *inode) {
	if d.options.Entries == Ordered {
		d.resized[n] = true
	}
}
