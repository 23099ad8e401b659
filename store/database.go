package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// ErrDamaged says that there is a database but it cannot be opened or read as
// one of ours. The directory should be set aside and the replica rebuilt from
// its log, a snapshot or its peers; it must not be started empty.
var ErrDamaged = errors.New("store: the database is damaged")

// firstVersion is added to an index to make the Badger version of what
// happened then. The versions below are for the ledger, which is written once
// per commit, whether or not the index has moved: below every index they may
// always be discarded, and no version is ever written twice with another value.
const firstVersion = 1 << 48

// layout says how everything in a database is laid out. It stands in front of
// the ledger. (In layouts before this one the ledger began with its own format, 1 or 2.)
const layout = 5

// errLayout says that a database is no damaged one, but one of another version.
var errLayout = errors.New("the database was written by another version of this program")

// database is a Badger database and those who use it.
type database struct {
	badger *badger.DB
	dir    string
	heard  badgerLogger

	testifying sync.Mutex // guards said and writes of witness
	witness    *os.File
	said       witness
	manifest   uint64 // highest number of a table in the manifest when it was opened
	noted      int64  // how long the manifest was when the witness was told of tables
	again      bool   // it is to be told again

	// Used by the committer only.
	ledger uint64 // version of the newest ledger record
	big    int64  // bytes that went into the value log since it was last collected

	mu      sync.Mutex
	holds   map[uint64]int // views by the lowest index they read
	retired bool           // close when the last view is released
	remove  bool           // and delete the directory
	err     error          // of closing
	closed  chan struct{}
}

// openDatabase opens or makes the Badger database in dir. What Badger says is
// taken for damage, but for errors of the disk: that the directory can be
// written and is nobody else's is known from its lock (openLock).
func openDatabase(dir string, opt *Options, sync bool) (*database, error) {
	return openBadger(badgerOptions(dir).WithSyncWrites(sync), opt)
}

func openBadger(o badger.Options, opt *Options) (_ *database, err error) {
	dir := o.Dir
	defer func() {
		// Badger panics on some damage; the caller must be able to set the
		// directory aside whatever the damage is.
		if r := recover(); r != nil {
			err = openFailed(dir, fmt.Errorf("%v", r))
		}
	}()
	if err := tidy(dir); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", dir, err)
	}
	restored, err := takeBack(dir)
	if err != nil {
		return nil, err
	}
	if restored > 0 {
		opt.Logger.Warn().Str("dir", dir).Int("tables", restored).Msg("a compaction that may not have been complete was taken back")
	}
	manifest, err := checkFiles(dir)
	if err != nil {
		return nil, err
	}
	// A crash may have come between a change and its fsync. The witness will be told of all tables that there are now.
	if err := syncFile(manifestPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	heard := newBadgerLogger(dir, opt)
	b, err := badger.OpenManaged(o.WithLogger(heard))
	if err != nil {
		return nil, openFailed(dir, err)
	}
	heard.compactions.opened(b)
	d := &database{badger: b, dir: dir, heard: heard, manifest: manifest, holds: map[uint64]int{}, closed: make(chan struct{})}
	if d.witness, d.said, err = openWitness(dir); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return d, nil
}

// lastTable returns the highest number of a table that the manifest of a closed database speaks of.
func (d *database) lastTable() uint64 {
	m, err := readManifest(d.dir)
	if err != nil {
		return 0
	}
	_, highest := m.live()
	return highest
}

// checkFiles verifies what Badger does not, and returns the highest number of a table in the manifest.
func checkFiles(dir string) (manifest uint64, err error) {
	m, err := readManifest(dir)
	if err != nil {
		return 0, err
	}
	if m.missing {
		return 0, checkEmpty(dir)
	}
	live, highest := m.live()
	if err := checkTables(dir, live); err != nil {
		return 0, err
	}
	return highest, checkMemtables(dir)
}

// checkEmpty returns ErrDamaged if a database without a manifest has data: Badger makes
// the manifest first, and would make another one and remove what that does not name.
func checkEmpty(dir string) error {
	for _, pattern := range []string{"*.sst", "*.mem", "*.vlog"} {
		if files, _ := filepath.Glob(filepath.Join(dir, pattern)); len(files) > 0 {
			return fmt.Errorf("store: %s has %s and no MANIFEST: %w", dir, filepath.Base(files[0]), ErrDamaged)
		}
	}
	return nil
}

// openFailed tells damage from a disk that is full, failing or not ours: then the data may be sound.
func openFailed(dir string, err error) error {
	for _, e := range []error{
		syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		// Badger has some errors as text only.
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return fmt.Errorf("store: open %s: %w", dir, err)
		}
	}
	return fmt.Errorf("store: open %s: %w: %w", dir, err, ErrDamaged)
}

// Small tables, because a compaction holds up to some twenty that it makes in
// memory, not compressed: with tables of 2 MB (Badger's default) a million keys of 1 KB that
// compress well took 1,180 MiB when they had just been written, with 512 KB 540, and no longer.
func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithDetectConflicts(false).
		WithMemTableSize(8 << 20).WithNumMemtables(2).
		WithNumCompactors(2).WithNumLevelZeroTables(4).
		WithBlockCacheSize(8 << 20).WithIndexCacheSize(8 << 20).
		WithCompression(options.Snappy).
		WithChecksumVerificationMode(options.OnBlockRead).WithVerifyValueChecksum(true).
		WithValueThreshold(bigValue).WithValueLogFileSize(16 << 20).
		WithNumVersionsToKeep(1).WithNumGoroutines(1).
		WithBaseTableSize(512 << 10).
		WithMetricsEnabled(false).
		WithBypassLockGuard(true) // the store has a lock of its own
}

// hold keeps versions from low on from being discarded, and the database open.
func (d *database) hold(low uint64) {
	d.mu.Lock()
	d.holds[low]++
	d.mu.Unlock()
}

// release undoes a hold. The last one of a retired database closes it.
func (d *database) release(low uint64) {
	d.mu.Lock()
	if d.holds[low]--; d.holds[low] == 0 {
		delete(d.holds, low)
	}
	last := d.retired && len(d.holds) == 0
	d.mu.Unlock()
	if last {
		d.close()
	}
}

// lowest returns the lowest index that a view holds, limit if none is lower.
func (d *database) lowest(limit uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	for low := range d.holds {
		limit = min(limit, low)
	}
	return limit
}

// retire closes the database as soon as nobody uses it; no more holds are
// taken on it. With remove its directory is deleted then. wait on closed.
func (d *database) retire(remove bool) {
	d.mu.Lock()
	d.retired, d.remove = true, remove
	last := len(d.holds) == 0
	d.mu.Unlock()
	if last {
		d.close()
	}
}

func (d *database) close() {
	if d.heard.compactions.closes() {
		d.err = d.badger.Close()
		d.heard.compactions.closed()
	}
	if d.err = errors.Join(d.err, d.heard.compactions.complete()); d.err == nil && !d.remove {
		d.testify(witness{table: d.lastTable()})
	}
	d.testifying.Lock()
	d.err = errors.Join(d.err, d.witness.Close())
	d.witness = nil
	d.testifying.Unlock()
	if d.remove {
		d.err = errors.Join(d.err, os.RemoveAll(d.dir))
	}
	close(d.closed)
}

// diskCursor walks the places of a database that held something at one index.
type diskCursor struct {
	txn  *badger.Txn
	it   *badger.Iterator
	db   *database
	to   []byte
	at   uint64
	last []byte // place walked past, whose older versions are skipped

	place string
	index uint64
	err   error
	older *version // what is there, if it is in a pack below its newest version
}

// seek returns a cursor before the first place of [from, to). See get for end.
func (d *database) seek(from, to string, at, end uint64) *diskCursor {
	c := &diskCursor{txn: d.badger.NewTransactionAt(firstVersion+end, false), db: d, to: []byte(to), at: at}
	// All versions, because Badger's own skipping of old versions and emptied
	// places knows no upper bound and walks every version of a place.
	c.it = c.txn.NewIterator(badger.IteratorOptions{Prefix: commonPrefix(from, to), AllVersions: true})
	c.it.Seek([]byte(from))
	return c
}

func commonPrefix(a, b string) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return []byte(a[:n])
}

// manyVersions is from how many versions of one place on a seek to the next
// place is cheaper than walking.
const manyVersions = 8

// next goes to the next place and reports whether there is one. If there is
// none, err may say why.
func (c *diskCursor) next() bool {
	found := c.walk()
	if c.err == nil {
		c.err = c.db.heard.compactions.complete()
	}
	return found && c.err == nil
}

func (c *diskCursor) walk() bool {
	for walked := 0; c.it.Valid(); {
		item := c.it.Item()
		key := item.Key()
		if c.last != nil && bytes.Equal(key, c.last) {
			if walked++; walked < manyVersions {
				c.it.Next()
			} else {
				c.it.Seek(append(c.last, 0))
			}
			continue
		}
		if bytes.Compare(key, c.to) >= 0 {
			return false
		}
		walked = 0
		found, err := c.look(item)
		if err != nil {
			c.err = err
			return false
		}
		if found {
			return true
		}
		c.it.Next()
	}
	return false
}

// look looks for what the place of an item held, and reports whether it was something.
func (c *diskCursor) look(item *badger.Item) (found bool, err error) {
	c.older = nil
	index, gone := itemIndex(item), item.IsDeletedOrExpired()
	if index > c.at {
		v, ok, _, err := itemAt(item, c.at)
		if err != nil || !ok {
			return false, err
		}
		c.older, index, gone = &v, v.index, v.gone
	}
	c.last = append(c.last[:0], item.Key()...)
	if gone {
		return false, nil
	}
	c.place, c.index = string(c.last), index
	return true, nil
}

// value returns what is at the place the cursor is at.
func (c *diskCursor) value() (string, error) {
	if c.older != nil {
		return c.older.value, nil
	}
	return itemValue(c.it.Item())
}

func (c *diskCursor) close() {
	c.it.Close()
	c.txn.Discard()
}

// write makes the versions of a generation durable, and removes the stretches of
// the history that end at the given indexes. Versions of one generation reach
// the disk in no particular order, so nothing is there for a reader after a
// crash until writeLedger has said so.
func (d *database) write(g *generation, trim []uint64) error {
	batch := d.badger.NewManagedWriteBatch()
	defer batch.Cancel()
	err := d.entries(g, trim, func(e entry) error { return e.addTo(batch) })
	if err != nil {
		return fmt.Errorf("store: write: %w", err)
	}
	if err := batch.Flush(); err != nil {
		return fmt.Errorf("store: write: %w", err)
	}
	return d.collect(g)
}

// bigValue is the size from which on Badger keeps a value in its value log,
// and collectEvery after how many bytes of such the log is worth a look.
const (
	bigValue     = 1 << 20
	collectEvery = 64 << 20
)

// collect has Badger free value log files of which more than half is garbage.
// It does not find them before the tables that pointed there were compacted.
func (d *database) collect(g *generation) error {
	if g.bytes < bigValue {
		return nil
	}
	for _, c := range g.chains {
		for _, v := range c.versions {
			if len(v.value) >= bigValue {
				d.big += int64(len(v.value))
			}
		}
	}
	if d.big < collectEvery {
		return nil
	}
	d.big = 0
	for {
		err := d.badger.RunValueLogGC(0.5)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("store: collect value log: %w", err)
		}
	}
}

// entries calls each for what a commit writes before the ledger.
func (d *database) entries(g *generation, trim []uint64, each func(entry) error) error {
	for _, end := range trim {
		if err := each(entry{place: historyKey(end), version: d.ledger + 1, gone: true}); err != nil {
			return err
		}
	}
	var ends []uint64
	err := cutStretches(g.past, func(stretch []past) error {
		last := &stretch[len(stretch)-1]
		var meta byte
		if last.endsWindow() || last == &g.past[len(g.past)-1] {
			meta, ends = metaWindowEnd, append(ends, last.index)
		}
		return each(d.stretchEntry(stretch, meta))
	})
	if err != nil {
		return err
	}
	for place, c := range g.chains {
		if err := pack(place, c.versions, ends, each); err != nil {
			return err
		}
	}
	return nil
}

// entry is an entry of Badger's.
type entry struct {
	place   string
	version uint64 // Badger's
	value   []byte
	meta    byte
	gone    bool
}

func versionEntry(place string, v version) entry {
	return entry{place: place, version: firstVersion + v.index, value: []byte(v.value), gone: v.gone}
}

func (e *entry) addTo(batch *badger.WriteBatch) error {
	if e.gone {
		return batch.DeleteAt([]byte(e.place), e.version)
	}
	return batch.SetEntryAt(badger.NewEntry([]byte(e.place), e.value).WithMeta(e.meta), e.version)
}

// writeLedger makes a new ledger record durable. It is a transaction of its
// own, begun when the versions it vouches for are safe: entries of different
// versions get no transaction markers from Badger and are logged in the order
// of a Go map, so that within one transaction a power cut could keep the
// ledger and lose the versions.
func (d *database) writeLedger(record []byte) error {
	txn := d.badger.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	err := txn.SetEntry(badger.NewEntry([]byte(ledgerKey), append([]byte{layout}, record...)))
	if err == nil {
		err = txn.CommitAt(d.ledger+1, nil)
	}
	if err != nil {
		return fmt.Errorf("store: write ledger: %w", err)
	}
	d.ledger++
	d.testify(witness{ledger: d.ledger})
	return nil
}

// readLedger returns the newest ledger record, or io.EOF if there is none.
func (d *database) readLedger() (string, error) {
	txn := d.badger.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get([]byte(ledgerKey))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return "", io.EOF
	}
	if err != nil {
		return "", fmt.Errorf("store: read ledger: %w", err)
	}
	d.ledger = item.Version()
	record, err := itemValue(item)
	if err != nil {
		return "", err
	}
	if record == "" {
		return "", errMalformed
	}
	if record[0] != layout {
		return "", fmt.Errorf("%w: its layout is %d, this version reads %d", errLayout, record[0], layout)
	}
	return record[1:], nil
}

// discardBelow lets Badger forget versions that are older than the newest one
// at index.
func (d *database) discardBelow(index uint64) { d.badger.SetDiscardTs(firstVersion + index) }

// databaseDir returns where the database numbered seq is.
func databaseDir(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("db-%d", seq))
}
