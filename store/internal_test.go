package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func openFor(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.FlushInterval == 0 {
		o.FlushInterval = time.Hour
	}
	o.Groups, o.FirstIndex = 1, 3
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustApply(t testing.TB, s *Store, c Command) Result {
	t.Helper()
	_, raft := s.Position()
	r := s.Apply(raft+1, &c)
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	return r
}

// TestTornBatch leaves the versions of a batch on the disk without the ledger
// that vouches for them, as a power cut between the two does. They must not be
// seen, and replaying the log must give what it gives without them.
func TestTornBatch(t *testing.T) {
	dir := t.TempDir()
	s := openFor(t, Options{Dir: dir})
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a/b"), Value: "1"})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	torn := []Command{
		{Op: OpSet, Key: ParseKey("/a/b"), Value: "2"},
		{Op: OpSet, Key: ParseKey("/new/x"), Value: "3", HasTTL: true, TTL: 1},
		{Op: OpDelete, Key: ParseKey("/a"), Recursive: true},
	}
	for _, c := range torn {
		mustApply(t, s, c)
	}
	_, _, hash := s.Digest()
	s.commit.committing.Lock()
	if err := s.kv.db.write(s.kv.rotate(), nil); err != nil {
		t.Fatal(err)
	}
	s.commit.fail(errors.New("power cut"))
	s.commit.committing.Unlock()
	if err := s.Close(); err == nil {
		t.Fatal("the store closed as if nothing had happened")
	}

	s = openFor(t, Options{Dir: dir})
	defer s.Close()
	if s.Applied() != 1 || s.Frontier() != 4 {
		t.Fatalf("applied %d, frontier %d", s.Applied(), s.Frontier())
	}
	e, _, refused := s.Get(Key{}, true)
	if refused != nil || len(e.Node.Nodes) != 1 || e.Node.Nodes[0].Nodes[0].Value != "1" {
		t.Fatalf("leftovers are seen: %v %v", e, refused)
	}
	if events, err := s.Events(0, math.MaxUint64, 10); err != nil || len(events) != 1 {
		t.Fatalf("leftovers in the history: %v %v", events, err)
	}
	for _, c := range torn {
		mustApply(t, s, c)
	}
	if _, _, h := s.Digest(); h != hash {
		t.Error("replay gives another hash")
	}
}

// TestCommitterFails closes Badger under the committer.
func TestCommitterFails(t *testing.T) {
	s := openFor(t, Options{})
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a"), Value: "v"})
	if err := s.kv.db.badger.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	select {
	case <-s.Failed():
	default:
		t.Error("nobody is told")
	}
	if r := s.Apply(9, &Command{Op: OpTick}); r.Failure == nil || !errors.Is(r.Failure, s.Err()) {
		t.Errorf("apply: %v", r.Failure)
	}
	if e, _, refused := s.Get(ParseKey("/a"), false); refused != nil || e.Node.Value != "v" {
		t.Errorf("what is in memory is not read: %v", refused)
	}
	if s.Applied() != 0 {
		t.Errorf("applied %d", s.Applied())
	}
	if err := s.Close(); err == nil {
		t.Error("closed without a word")
	}
}

// TestIdle checks that nothing is written while nothing happens.
func TestIdle(t *testing.T) {
	s := openFor(t, Options{})
	defer s.Close()
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a")})
	s.writePending()
	written := s.kv.db.ledger
	s.writePending()
	s.writePending()
	if s.kv.db.ledger != written {
		t.Errorf("the ledger was written %d times more", s.kv.db.ledger-written)
	}
}

// TestHistoryLeavesTheDisk checks that old events and versions are deleted in
// time, and that what is kept stays exact, compactions included.
func TestHistoryLeavesTheDisk(t *testing.T) {
	const history, events = 100, 5000
	o := Options{Dir: t.TempDir(), History: history}
	s := openFor(t, o)
	defer func() { s.Close() }()
	var all []*Event
	for i := range events {
		op := OpSet
		if i%10 == 9 {
			op = OpDelete
		}
		r := mustApply(t, s, Command{Op: op, Key: ParseKey(fmt.Sprintf("/d/k%d", i%10/2)), Value: fmt.Sprint(i)})
		all = append(all, r.Event)
		if i%50 == 0 {
			s.writePending()
		}
		if i%1000 == 500 || i == events-2 { // closing makes a table of what is in Badger's memory
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openFor(t, o)
		}
	}
	s.writePending()
	if err := s.kv.db.badger.Flatten(1); err != nil {
		t.Fatal(err)
	}
	if left := len(eventsOnDisk(t, s)); left < history || left > history+2*trimAtLeast+1000 {
		t.Errorf("%d events are on the disk, %d should be kept", left, history)
	}
	if left := countVersions(s, spaceNode); left > history+2000 {
		t.Errorf("%d versions of 5 nodes are on the disk", left)
	}
	oldest := s.kv.current().oldest
	kept, err := s.Events(oldest, s.Frontier(), events)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all[events-history:], kept, cmp.AllowUnexported(Key{}), cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Error(diff)
	}
	for i, e := range kept {
		was, refused := s.GetAt(e.Node.Key, false, oldest+uint64(i)-1)
		if e.Prev == nil && refused == nil || e.Prev != nil && (refused != nil || was.Node.Value != e.Prev.Value) {
			t.Errorf("before event %d: %v %v", e.Index, was, refused)
		}
	}
}

// countVersions counts what Badger keeps of one space, emptied places included.
func countVersions(s *Store, space byte) (n int) {
	txn := s.kv.db.badger.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}, AllVersions: true})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// TestHeldVersions checks that a view keeps what it may read.
func TestHeldVersions(t *testing.T) {
	s := openFor(t, Options{History: 1})
	defer s.Close()
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a"), Value: "old"})
	v, err := s.kv.latest()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/a"), Value: fmt.Sprint(i)})
		if i%100 == 0 {
			s.writePending()
		}
	}
	s.writePending()
	if got := s.kv.db.lowest(s.Frontier()); got != 4 {
		t.Errorf("versions are kept from %d", got)
	}
	r, found, err := v.record(ParseKey("/a"), 4)
	if err != nil || !found || r.value != "old" {
		t.Errorf("read %+v %v %v", r, found, err)
	}
	v.release()
	if got := s.kv.db.lowest(s.Frontier()); got != s.Frontier() {
		t.Errorf("a released view still keeps %d", got)
	}
}

// TestViewOfReplacedDatabase reads through a view that is older than a Restore.
func TestViewOfReplacedDatabase(t *testing.T) {
	s := openFor(t, Options{})
	defer s.Close()
	empty, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := empty.WriteTo(&b, nil); err != nil {
		t.Fatal(err)
	}
	empty.Close()
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/d/old"), Value: "v"})
	v, err := s.kv.latest()
	if err != nil {
		t.Fatal(err)
	}
	dir := v.db.dir
	if err := s.Restore(&b, nil); err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/d/new"), Value: "v"})
	var names []string
	err = v.children(ParseKey("/d"), v.head.frontier, func(_ string, k Key, _ *record) bool {
		names = append(names, k.Name())
		return true
	})
	if err != nil || len(names) != 1 || names[0] != "old" {
		t.Errorf("the view lists %q, %v", names, err)
	}
	if _, found, err := v.record(ParseKey("/d/new"), v.head.frontier); found || err != nil {
		t.Errorf("the view sees what came after: %v", err)
	}
	v.release()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the replaced database is still there: %v", err)
	}
}

// TestScanAcrossBites lists a directory of which so much is pending that it is
// read in several bites, over as much on the disk.
func TestScanAcrossBites(t *testing.T) {
	s := openFor(t, Options{})
	defer s.Close()
	const n = 3*bestBite + 7
	name := func(i int) string { return fmt.Sprintf("k%06d", i) }
	for i := 0; i < n; i += 2 {
		mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/d/" + name(i)), Value: "disk"})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 3 {
		mustApply(t, s, Command{Op: OpSet, Key: ParseKey("/d/" + name(i)), Value: "pending"})
	}
	for i := 0; i < n; i += 5 {
		mustApply(t, s, Command{Op: OpDelete, Key: ParseKey("/d/" + name(i))})
	}
	var want, got []string
	for i := range n {
		switch {
		case i%5 == 0:
		case i%3 == 0:
			want = append(want, name(i)+" pending")
		case i%2 == 0:
			want = append(want, name(i)+" disk")
		}
	}
	e, _, refused := s.Get(ParseKey("/d"), false)
	if refused != nil {
		t.Fatal(refused)
	}
	for _, n := range e.Node.Nodes {
		got = append(got, n.Key.Name()+" "+n.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecord(t *testing.T) {
	for _, r := range []record{
		{created: 5, modified: 9, value: "v"},
		{created: 9, modified: 9},
		{dir: true, created: 3, modified: 3, hasTTL: true, deadline: math.MaxInt64, expiration: -1},
		{created: 1, modified: 9, hasTTL: true, value: "\x00\xff"},
	} {
		got, err := decodeRecord(r.encode(9), 9)
		if err != nil || got != r {
			t.Errorf("%+v becomes %+v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "\x00", "\x02\x00", "\xff\x00\x00\x00\x00"} {
		if r, err := decodeRecord(s, 9); err == nil {
			t.Errorf("%q is taken for %+v", s, r)
		}
	}
}

func TestDeadline(t *testing.T) {
	second, tick := int64(time.Second), int64(Tick)
	for _, c := range []struct{ clock, ttl, deadline, left int64 }{
		{0, 0, tick, 0},
		{7, 1, 7 + second + tick, 1},
		{0, MaxTTL, MaxTTL*second + tick, MaxTTL},
		{math.MaxInt64 - 5, 10, math.MaxInt64, 0},
	} {
		d := deadline(c.clock, c.ttl)
		if d != c.deadline || secondsLeft(d, c.clock) != c.left {
			t.Errorf("at %d a TTL of %d ends at %d, %d s are left", c.clock, c.ttl, d, secondsLeft(d, c.clock))
		}
	}
}

func TestPlaces(t *testing.T) {
	k := ParseKey("/a/b/c")
	if got, want := nodePlace(k), "n\x00\x00\x00\x04/a/bc"; got != want {
		t.Errorf("place %q, want %q", got, want)
	}
	if d, key, ok := parseQueueKey(queueKey(77, k)); d != 77 || key != k || !ok {
		t.Errorf("queue: %d %v %v", d, key, ok)
	}
	if i, ok := historyIndex(historyKey(1 << 40)); i != 1<<40 || !ok {
		t.Errorf("history: %d %v", i, ok)
	}
	if got := after("a\xff\xff"); got != "b" {
		t.Errorf("after: %q", got)
	}
	for path, want := range map[string]bool{
		"": true, "/a": true, "/a/b": true, "/...": true, "/a b/ü": true,
		"a": false, "/": false, "/a/": false, "//a": false, "/a//b": false, "/.": false, "/a/..": false,
	} {
		if canonical(path) != want {
			t.Errorf("canonical(%q) = %v", path, !want)
		}
		if want != (path == "" || ParseKey(path).path == path) {
			t.Errorf("ParseKey thinks otherwise of %q", path)
		}
	}
}

// FuzzSnapshot checks that no bytes make the reader of snapshots panic, and
// that it accepts nothing but what was written.
func FuzzSnapshot(f *testing.F) {
	s := openFor(f, Options{})
	for i := range 20 {
		mustApply(f, s, Command{Op: OpSet, Key: ParseKey(fmt.Sprintf("/a/%d", i%5)), Value: "v", HasTTL: i%2 == 0})
	}
	snap, err := s.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	var good bytes.Buffer
	if err := snap.WriteTo(&good, nil); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()/2])
	f.Add([]byte("WITN\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newSnapshotReader(bytes.NewReader(b))
		l, err := in.header()
		for err == nil {
			_, err = in.next(&l.head)
		}
		switch {
		case errors.Is(err, ErrBadSnapshot):
		case errors.Is(err, io.EOF):
			if len(b) < 4 || !bytes.HasPrefix(b, []byte(snapshotMagic)) {
				t.Fatal("accepted what is no snapshot")
			}
		default:
			t.Fatalf("error %v", err)
		}
	})
}

// FuzzLedger checks that no bytes make the decoder of the ledger panic.
func FuzzLedger(f *testing.F) {
	l := ledger{groups: 4, head: head{raftIndex: 7, frontier: 9, dropped: true}, repeats: repeats{}}
	c := Command{Origin: 3, Boot: 4, Seq: 5, Settled: 2}
	l.repeats.find(&c)
	l.repeats.record(&c, 8)
	f.Add(string(l.encode()))
	f.Fuzz(func(t *testing.T, s string) {
		l, err := decodeLedger(s)
		if err != nil {
			return
		}
		if again, err := decodeLedger(string(l.encode())); err != nil || again.head != l.head {
			t.Fatalf("%+v becomes %+v, %v", l.head, again.head, err)
		}
	})
}
