package powerfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is one inode as FUSE sees it. Requests for it come concurrently.
type node struct {
	fs.Inode
	disk  *Disk
	inode *inode
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeAllocater = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

// locked runs f on the disk, unless its power is off.
func (n *node) locked(f func() syscall.Errno) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.cut {
		return syscall.EIO
	}
	return f()
}

func (n *node) child(ctx context.Context, in *inode, out *fuse.EntryOut) *fs.Inode {
	in.attr(&out.Attr)
	return n.NewInode(ctx, &node{disk: n.disk, inode: in}, fs.StableAttr{Mode: in.mode & syscall.S_IFMT, Ino: in.id})
}

func (n *inode) attr(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink = n.id, n.mode, 1
	out.Size, out.Blocks, out.Blksize = uint64(n.seen.size), uint64(len(n.seen.pages)*pageSize/512), pageSize
	out.SetTimes(&n.mtime, &n.mtime, &n.mtime)
}

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.locked(func() syscall.Errno {
		in := n.inode.entries[name]
		if in == nil {
			return syscall.ENOENT
		}
		child = n.child(ctx, in, out)
		return 0
	})
	return child, errno
}

// Getattr tells size, mode and times.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.locked(func() syscall.Errno {
		n.inode.attr(&out.Attr)
		return 0
	})
}

// Setattr truncates and changes the mode. Owners and times are not kept.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.changing(func() syscall.Errno {
		if size, ok := in.GetSize(); ok {
			n.resizeLocked(int64(size))
		}
		if mode, ok := in.GetMode(); ok {
			n.inode.mode = n.inode.mode&syscall.S_IFMT | mode&0o7777
		}
		n.inode.attr(&out.Attr)
		return 0
	})
}

// resizeLocked truncates or extends the file.
func (n *node) resizeLocked(size int64) {
	before := len(n.inode.seen.pages)
	n.inode.resize(size)
	n.disk.used += int64(len(n.inode.seen.pages) - before)
	n.disk.resizedLocked(n.inode)
}

// Readdir lists names.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	errno := n.locked(func() syscall.Errno {
		for name, in := range n.inode.entries {
			list = append(list, fuse.DirEntry{Name: name, Mode: in.mode, Ino: in.id})
		}
		return 0
	})
	return fs.NewListDirStream(list), errno
}

func (n *node) make(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.changing(func() syscall.Errno {
		if n.inode.entries[name] != nil {
			return syscall.EEXIST
		}
		if errno := n.disk.takeLocked(1); errno != 0 {
			return errno
		}
		n.disk.last++
		in := newInode(n.disk.last, mode)
		in.names = 1
		n.inode.entries[name] = in
		n.disk.renamedLocked(n.inode)
		child = n.child(ctx, in, out)
		return 0
	})
	return child, errno
}

// Create makes a file and opens it.
func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, errno := n.make(ctx, name, syscall.S_IFREG|mode&0o7777, out)
	return child, nil, fuse.FOPEN_KEEP_CACHE, errno
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, syscall.S_IFDIR|mode&0o7777, out)
}

// Link gives a file another name.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	in := target.(*node).inode
	errno = n.changing(func() syscall.Errno {
		if n.inode.entries[name] != nil {
			return syscall.EEXIST
		}
		in.names++
		n.inode.entries[name] = in
		n.disk.renamedLocked(n.inode)
		child = n.child(ctx, in, out)
		return 0
	})
	return child, errno
}

func (n *node) remove(name string) syscall.Errno {
	return n.changing(func() syscall.Errno {
		in := n.inode.entries[name]
		switch {
		case in == nil:
			return syscall.ENOENT
		case len(in.entries) > 0:
			return syscall.ENOTEMPTY
		}
		delete(n.inode.entries, name)
		n.disk.unnamedLocked(in)
		n.disk.renamedLocked(n.inode)
		return 0
	})
}

// unnamedLocked frees the space of a file that has lost its last name. One that is still open counts no more, either.
func (d *Disk) unnamedLocked(in *inode) {
	if in.names--; in.names == 0 {
		d.used -= int64(len(in.seen.pages)) + 1
	}
}

// Unlink removes a file's name.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name) }

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.remove(name) }

// Rename moves a name, over another one if need be.
func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to := parent.(*node).inode
	return n.changing(func() syscall.Errno {
		in, over := n.inode.entries[name], to.entries[newName]
		switch {
		case flags&^unix.RENAME_NOREPLACE != 0:
			return syscall.EINVAL
		case in == nil:
			return syscall.ENOENT
		case over != nil && flags&unix.RENAME_NOREPLACE != 0:
			return syscall.EEXIST
		case over != nil && len(over.entries) > 0:
			return syscall.ENOTEMPTY
		}
		delete(n.inode.entries, name)
		to.entries[newName] = in
		if over != nil {
			n.disk.unnamedLocked(over)
		}
		n.disk.renamedLocked(n.inode)
		n.disk.renamedLocked(to)
		return 0
	})
}

// Open opens a file.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_TRUNC|syscall.O_WRONLY|syscall.O_RDWR) == 0 {
		return nil, fuse.FOPEN_KEEP_CACHE, n.locked(func() syscall.Errno { return 0 })
	}
	errno := n.changing(func() syscall.Errno {
		if flags&syscall.O_TRUNC != 0 {
			n.resizeLocked(0)
		}
		return 0
	})
	return nil, fuse.FOPEN_KEEP_CACHE, errno
}

// Read reads what is seen, synced or not.
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	var got int
	errno := n.locked(func() syscall.Errno {
		if errno := n.failLocked(&n.disk.faults.Reads, &n.disk.bites.Reads); errno != 0 {
			return errno
		}
		got = n.inode.read(dest, off)
		return 0
	})
	return fuse.ReadResultData(dest[:got]), errno
}

// Write changes what is seen, not what is durable. After a write to a file opened with O_SYNC or O_DSYNC the kernel asks for an fsync.
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.disk.dawdle((*Faults).writeDelay)
	errno := n.changing(func() syscall.Errno {
		if errno := n.failLocked(&n.disk.faults.Writes, &n.disk.bites.Writes); errno != 0 {
			return errno
		}
		if n.inode.names > 0 {
			if errno := n.disk.takeLocked(n.inode.missing(off, off+int64(len(data)))); errno != 0 {
				return errno
			}
		}
		n.inode.write(data, off)
		return 0
	})
	return uint32(len(data)), errno
}

// Allocate allocates space, extends a file or punches a hole.
func (n *node) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	return n.changing(func() syscall.Errno {
		end := int64(off + size)
		switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
		case 0:
			if errno := n.disk.takeLocked(n.inode.missing(int64(off), end)); errno != 0 {
				return errno
			}
			n.inode.allocate(int64(off), end)
			if mode == 0 {
				n.inode.seen.size = max(n.inode.seen.size, end)
				n.disk.resizedLocked(n.inode)
			}
		case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
			before := len(n.inode.seen.pages)
			n.inode.clear(int64(off), end)
			n.disk.used += int64(len(n.inode.seen.pages) - before)
		default:
			return syscall.ENOTSUP
		}
		return 0
	})
}

// Fsync makes a file's content, or a directory's names, durable.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.disk.dawdle((*Faults).syncDelay)
	return n.changing(func() syscall.Errno {
		if errno := n.failLocked(&n.disk.faults.Syncs, &n.disk.bites.Syncs); errno != 0 {
			n.inode.fail()
			if n.disk.options.Silent {
				return 0
			}
			return errno
		}
		n.disk.syncLocked(n.inode)
		return 0
	})
}

// Statfs tells how much space there is.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.locked(func() syscall.Errno {
		free := uint64(n.disk.freeLocked())
		out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
		out.Blocks, out.Bfree, out.Bavail = uint64(n.disk.options.Capacity/pageSize), free, free
		out.Files, out.Ffree = 1<<20, 1<<19
		return 0
	})
}
