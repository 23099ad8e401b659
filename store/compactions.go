package store

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// compactions watches over those of one database. When Badger compacts and
// cannot create one of the new tables, because an fsync of it fails say, it
// goes on without: its goroutine reports an error that it took down before there
// was any (levels.go: subcompact, 4.9.6). The keys of that table are gone, and
// lookups find older versions of them or nothing.
//
// What gives it away is that the manifest names fewer tables than were begun, or a
// file that it has never named. That is looked for at the end of each compaction. Until then an iterator keeps the
// old tables from being removed, so that the compaction can be taken back
// (see takeBack) when the database is opened again.
//
// Badger tells of compactions to its log and to nobody else: what it says there
// before it creates the first table, and when it is done, calls begin and end, in
// goroutines of the compaction.
//
// Found by storm 3×4, seed 9009: a member answered from such a store, and by
// storm 1×4, seed 9104: a member alone had nothing to mend it with.
type compactions struct {
	dir        string
	failed     *failed
	room       func()        // makes room on the disk
	open       chan struct{} // closed when the database is open, or closes
	doubtful   atomic.Bool   // whether a table was lost is being looked at, with mu held
	incomplete atomic.Bool   // a table was lost

	mu      sync.Mutex
	turn    sync.Cond // by or closing has changed
	by      int       // the compactor that compacts, nobody if none does
	db      *badger.DB
	closing bool
	anchors []*badger.Iterator

	manifest manifestReader
	named    map[uint64]struct{} // all tables that the manifest has ever named, as far as it was read
	flushes  int                 // that it has told of

	// When the compaction began:
	newest       int  // the newest memtable
	quiet        bool // no memtable was being flushed
	flushesBegun int

	wanted, made int // tables of this compaction: begun, and named by the manifest
}

// nobody is the number of no compactor.
const nobody = -1

func newCompactions(dir string, f *failed, room func()) *compactions {
	c := &compactions{dir: dir, failed: f, room: room, open: make(chan struct{}), by: nobody, named: map[uint64]struct{}{}}
	c.turn.L = &c.mu
	return c
}

// opened tells which database it is.
func (c *compactions) opened(db *badger.DB) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
	close(c.open)
}

// closes is called before the database is closed. It reports whether it may be: where a
// table may be lost nothing is to be changed any more.
//
// What Badger compacts while it closes cannot be taken back if it includes what is
// flushed only then.
func (c *compactions) closes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.by != nobody {
		c.turn.Wait()
	}
	if c.incomplete.Load() {
		return false
	}
	c.anchor()
	c.db, c.closing = nil, true
	c.turn.Broadcast()
	return true
}

// closed is called when the database is closed.
func (c *compactions) closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.incomplete.Load() {
		c.release()
	}
}

// release lets the old tables go. They and what else the anchors hold are removed now.
func (c *compactions) release() {
	for _, it := range c.anchors {
		it.Close()
	}
	c.anchors = nil
}

// follow is told all that Badger says, and by which format. Those of interest begin with the number of the compactor.
func (c *compactions) follow(format string, args []any) {
	if len(args) < 2 {
		return
	}
	by, ok := args[0].(int)
	switch {
	case !ok:
	case strings.HasPrefix(format, "[%d] LOG Compact. Added %d keys."):
		keys, _ := args[1].(uint64)
		c.begin(by, keys)
	case strings.HasPrefix(format, "[Compactor: %d] LOG Compact FAILED"),
		strings.HasPrefix(format, "[Compactor: %d] Compaction for level: %d DONE"):
		c.end(by, strings.HasSuffix(format, "DONE"))
	}
}

// openWithin is for how long a compaction waits for the database to be open. What goes on before
// cannot be taken back. It is longer than an opening takes, and the end of the wait is for an opening that waits for the
// compaction in turn: one that fails, or that flushes to a first level that is full.
const openWithin = 10 * time.Second

// begin is called before each table of a compaction is created. Compactions go
// one at a time, so that each one's tables are known.
func (c *compactions) begin(by int, keys uint64) {
	select {
	case <-c.open:
	case <-time.After(openWithin):
	}
	c.room()
	c.mu.Lock()
	defer c.mu.Unlock()
	// Once a table may be lost no compaction goes on: it would go by what is left.
	for c.by != by && c.by != nobody || c.incomplete.Load() && !c.closing {
		c.turn.Wait()
	}
	if c.by == nobody {
		c.by = by
		c.newest, c.quiet = c.memtables()
		c.readManifest() // it names all tables that are compacted
		c.flushesBegun, c.wanted, c.made = c.flushes, 0, 0
		c.anchor()
	}
	if keys > 0 { // or no table is made of them
		c.wanted++
	}
}

// anchor keeps all tables that there are now.
func (c *compactions) anchor() {
	if c.db == nil || c.db.IsClosed() {
		return
	}
	txn := c.db.NewTransactionAt(math.MaxUint64, false)
	c.anchors = append(c.anchors, txn.NewIterator(badger.IteratorOptions{AllVersions: true}))
}

// end is called when a compaction has ended.
func (c *compactions) end(by int, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by != by {
		return // it had nothing to create
	}
	c.doubtful.Store(true)
	if err := c.lostTable(done); err != nil {
		c.failed.note(err)
		c.incomplete.Store(true)
	}
	c.doubtful.Store(false)
	if len(c.named) > manyNames {
		c.forget()
	}
	if c.failed.reason() == nil && !c.closing {
		c.release()
	}
	c.by = nobody
	c.turn.Broadcast()
}

// lostTable returns an error if the compaction that has just ended has lost a table.
func (c *compactions) lostTable(done bool) error {
	written := c.manifest.file
	c.readManifest()
	if done && c.made < c.wanted && (written == nil || os.SameFile(written, c.manifest.file)) {
		return c.lost(fmt.Sprintf("%d of %d tables", c.wanted-c.made, c.wanted))
	}
	suspects, err := filepath.Glob(filepath.Join(c.dir, "*.sst"))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	const pause = time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		patience := c.patience()
		c.readManifest()
		suspects = slices.DeleteFunc(suspects, func(path string) bool {
			number, ok := tableNumber(path)
			_, named := c.named[number]
			return !ok || named
		})
		if len(suspects) == 0 {
			return nil
		}
		if waited >= patience {
			return c.lost(filepath.Base(suspects[0]))
		}
		time.Sleep(pause)
	}
}

// patience returns for how long a table may go without a name because it is one that a memtable is
// flushed to. If none is, that is still the moment in which Badger has handed a
// memtable on and not yet made the file of the next one.
func (c *compactions) patience() time.Duration {
	newest, _ := c.memtables()
	switch {
	case c.failed.reason() != nil: // a flush that fails is tried again for ever, and with another table
		return 0
	case c.quiet && !c.closing && newest-c.newest == c.flushes-c.flushesBegun:
		return 20 * time.Millisecond
	}
	return flushWithin
}

// memtables returns the number of the newest memtable, and whether it is the only one. The anchors hold
// others, which have files although they have been flushed.
func (c *compactions) memtables() (newest int, alone bool) {
	files, _ := filepath.Glob(filepath.Join(c.dir, "*.mem")) // the pattern is well-formed
	for _, path := range files {
		number, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".mem"))
		newest = max(newest, number)
	}
	return newest, len(files) == 1
}

// flushWithin is how long it takes at most to make a table of a memtable of 8 MB, on a disk that is slow.
const flushWithin = 5 * time.Second

// complete returns an error if a table was lost in any compaction that has ended.
func (c *compactions) complete() error {
	if c.doubtful.Load() {
		c.mu.Lock()
		c.mu.Unlock() //nolint:staticcheck // waits for the answer
	}
	if c.incomplete.Load() {
		return c.failed.reason()
	}
	return nil
}

// lost returns the error for a lost table. It is no ErrDamaged if the compaction can be taken back.
func (c *compactions) lost(table string) error {
	back, err := planTakeBack(c.dir)
	if err == nil && back != nil {
		return fmt.Errorf("store: Badger could not create %s, and went on without it; the next start takes that compaction back", table)
	}
	return fmt.Errorf("store: Badger has lost %s, which it could not create: %w", table, ErrDamaged)
}

// readManifest adds the tables that the manifest names now. Those that are gone may still
// have readers, and so files; when the manifest is written anew it names them no more.
func (c *compactions) readManifest() {
	sets, err := c.manifest.read(c.dir)
	if err != nil {
		c.failed.note(err)
		return
	}
	for _, set := range sets {
		compaction := compacts(set)
		for _, change := range set.Changes {
			c.named[change.Id] = struct{}{}
			switch {
			case !compaction:
				c.flushes++
			case !removes(change):
				c.made++
			}
		}
	}
}

// manyNames is from how many names on those of tables that are gone are forgotten.
const manyNames = 10_000

// forget keeps the names of tables whose files are there. A number never comes twice.
func (c *compactions) forget() {
	files, err := listTables(c.dir)
	if err != nil {
		c.failed.note(err)
		return
	}
	maps.DeleteFunc(c.named, func(number uint64, _ struct{}) bool {
		_, there := files[number]
		return !there
	})
}

// tableNumber returns the number of a table by its file's name.
func tableNumber(path string) (number uint64, ok bool) {
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".sst"), 10, 64)
	return number, err == nil
}
