package store_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/witan-kv/witan/store"
)

// tester is what testing.T, testing.B and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// never is a flush interval under which only Flush and Close write.
const never = time.Hour

// replica is a store with the log that feeds it, as raft would.
type replica struct {
	t    tester
	root string // for directories of its own
	opt  store.Options
	*store.Store
	log  []store.Command // entry i has raft index i+1
	dirs []string        // all that it has used

	pause func() bool // whether to flush after a command that is replayed; nil for never
}

func newReplica(t tester, root string, o store.Options) *replica {
	r := &replica{t: t, root: root, opt: o}
	r.opt.Dir = r.newDir()
	r.open()
	return r
}

func (r *replica) newDir() string {
	dir, err := os.MkdirTemp(r.root, "store-")
	r.must(err)
	r.dirs = append(r.dirs, dir)
	return dir
}

// remove closes the store and removes what it has left behind.
func (r *replica) remove() {
	r.close()
	for _, dir := range r.dirs {
		r.must(os.RemoveAll(dir))
	}
}

func (r *replica) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v", err)
	}
}

// open opens the store and replays what of the log is not in it.
func (r *replica) open() {
	s, err := store.Open(r.opt)
	r.must(err)
	r.Store = s
	for i := s.Applied(); i < uint64(len(r.log)); i++ {
		if res := s.Apply(i+1, &r.log[i]); res.Failure != nil {
			r.t.Fatalf("replay %d: %v", i+1, res.Failure)
		}
		if r.pause != nil && r.pause() {
			r.must(s.Flush())
		}
	}
}

func (r *replica) close() { r.must(r.Store.Close()) }

func (r *replica) reopen() {
	r.close()
	r.open()
}

// crash goes on with what a process that is killed now leaves behind.
func (r *replica) crash() {
	left := r.newDir()
	r.must(copyTree(left, r.opt.Dir))
	r.close()
	r.opt.Dir = left
	r.open()
}

// tear goes on with what a power cut in the middle of a commit leaves behind.
func (r *replica) tear(keep func() bool) {
	r.must(r.Tear(keep))
	if err := r.Store.Close(); err == nil {
		r.t.Fatalf("a torn store closed as if nothing had happened")
	}
	r.open()
}

// copyTree copies what is in the files as other processes see them, at one
// moment: it begins again when Badger's own work changes them meanwhile.
func copyTree(to, from string) error {
	for {
		before := listing(from)
		err := copyFiles(to, from)
		if listing(from) == before {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// listing tells whether a directory has changed: which files there are, how
// long those that are written by appending, and what the witness says of the others.
func listing(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile, which the next listing shows
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintln(&b, path, info.Size())
		}
		if d.Name() == "WITNESS" {
			said, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x %v\n", said, err)
		}
		return nil
	})
	return b.String()
}

func copyFiles(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeSparse(filepath.Join(to, rel), b)
	})
}

// writeSparse writes a file with holes where there are only zeros, as the
// mapped files of Badger have them.
func writeSparse(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const page = 1 << 16
	zero := make([]byte, page)
	for at := 0; at < len(b); at += page {
		part := b[at:min(at+page, len(b))]
		if bytes.Equal(part, zero[:len(part)]) {
			continue
		}
		if _, err := f.WriteAt(part, int64(at)); err != nil {
			return err
		}
	}
	return f.Truncate(int64(len(b)))
}

// move takes a snapshot and restores it into another, new store.
func (r *replica) move() {
	var b bytes.Buffer
	snap, err := r.Snapshot()
	r.must(err)
	r.must(snap.WriteTo(&b, nil))
	snap.Close()
	r.close()
	r.opt.Dir = r.newDir()
	s, err := store.Open(r.opt)
	r.must(err)
	r.Store = s
	r.must(s.Restore(&b, nil))
}

// apply appends the command to the log and applies it. The command goes
// through its encoding, as in life.
func (r *replica) apply(c store.Command) store.Result {
	r.t.Helper()
	decoded, err := store.Decode(c.Encode())
	r.must(err)
	if diff := cmp.Diff(c, decoded, cmp.AllowUnexported(store.Key{})); diff != "" {
		r.t.Fatalf("encoding changes the command: %s", diff)
	}
	r.log = append(r.log, decoded)
	res := r.Apply(uint64(len(r.log)), &decoded)
	if res.Failure != nil {
		r.t.Fatalf("apply: %v", res.Failure)
	}
	if index, raft := r.Position(); index != res.Index || raft != uint64(len(r.log)) {
		r.t.Fatalf("position is %d, %d after a result of %d at %d", index, raft, res.Index, len(r.log))
	}
	return res
}

// dump returns everything a reader can see, as text.
func (r *replica) dump() string {
	r.t.Helper()
	var b strings.Builder
	e, _, refused := r.Get(store.Key{}, true)
	if refused != nil {
		r.t.Fatalf("dump: %v", refused)
	}
	writeTree(&b, e.Node)
	events, err := r.Events(r.oldest(), r.Frontier(), 1<<30)
	r.must(err)
	for _, e := range events {
		writeEvent(&b, e)
	}
	return b.String()
}

// oldest returns the first index that Events has.
func (r *replica) oldest() uint64 {
	_, err := r.Events(0, 0, 1)
	var index uint64
	if err != nil {
		_, rest, _ := strings.Cut(err.Error(), "[")
		for _, c := range rest {
			if c == '/' {
				break
			}
			index = index*10 + uint64(c-'0')
		}
	}
	return index
}

func writeTree(b *strings.Builder, n *store.Node) {
	for _, child := range n.Nodes {
		writeNode(b, child)
		b.WriteByte('\n')
		writeTree(b, child)
	}
}

// sameEvents compares events in everything that clients can see.
func sameEvents(a, b any) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(store.Key{}), cmpopts.IgnoreUnexported(store.Event{}))
}
