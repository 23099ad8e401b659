package store

import (
	"fmt"
	"math"
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
// What gives it away is that the manifest names fewer tables than were begun. They are counted
// at the end of each compaction. Until then an iterator keeps the
// old tables from being removed, so that the compaction can be taken back
// (see takeBack) when the database is opened again. A file without a name would be the other sign, and was the
// only one at first: on a full disk there is none (storm 3×4, seed 9240), and while a memtable is flushed there is one.
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
	open       chan struct{} // closed when the database is open
	doubtful   atomic.Bool   // whether a table was lost is being looked at, with mu held
	incomplete atomic.Bool   // a table was lost

	mu      sync.Mutex
	turn    sync.Cond // by or closing has changed
	by      int       // the compactor that compacts, nobody if none does
	db      *badger.DB
	closing bool
	anchors []*badger.Iterator

	manifest     manifestReader
	live         tables // that there are by the manifest, as far as it was read
	wanted, made int    // tables of this compaction: begun, and named by the manifest
}

// nobody is the number of no compactor.
const nobody = -1

func newCompactions(dir string, f *failed, room func()) *compactions {
	c := &compactions{dir: dir, failed: f, room: room, open: make(chan struct{}), by: nobody, live: tables{}}
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

// begin is called before each table of a compaction is created.
func (c *compactions) begin(by int, keys uint64) {
	select {
	case <-c.open:
	case <-time.After(openWithin):
	}
	c.enter(by, keys)
	c.room()
}

// enter waits for a compaction's turn, which it keeps until its end, and counts the table. Compactions go
// one at a time, so that each one's tables are known.
func (c *compactions) enter(by int, keys uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Once a table may be lost no compaction goes on: it would go by what is left.
	for c.by != by && c.by != nobody || c.incomplete.Load() && !c.closing {
		c.turn.Wait()
	}
	if c.by == nobody {
		c.by = by
		c.readManifest()
		c.wanted, c.made = 0, 0
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
	if c.failed.reason() == nil && !c.closing {
		c.release()
	}
	c.by = nobody
	c.turn.Broadcast()
}

// lostTable returns an error if the compaction that has just ended has lost a table.
func (c *compactions) lostTable(done bool) error {
	c.readManifest()
	if !done || c.made >= c.wanted {
		return nil
	}
	lost := fmt.Sprintf("%d of %d tables", c.wanted-c.made, c.wanted)
	if back, err := planTakeBack(c.dir); err == nil && back != nil {
		return fmt.Errorf("store: Badger could not create %s, and went on without; the next start takes that compaction back", lost)
	}
	return fmt.Errorf("store: Badger could not create %s, and went on without: %w", lost, ErrDamaged)
}

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

// readManifest reads what the manifest says since it was read last, and counts the tables that compactions have made.
// In a set that names all tables there are (see manifestReader), those of memtables that were flushed meanwhile count as well.
func (c *compactions) readManifest() {
	sets, anew, err := c.manifest.read(c.dir)
	if err != nil {
		c.failed.note(err)
		return
	}
	for i, set := range sets {
		all := anew && i == 0
		for _, change := range set.Changes {
			if (all || compacts(set)) && !removes(change) && c.live[change.Id] == nil {
				c.made++
			}
		}
		if all {
			c.live = tables{}
		}
		c.live.apply(set)
	}
}
