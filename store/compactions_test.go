package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// noise does not compress, so that so many values fill a table.
func noise(random *rand.Rand, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return string(b)
}

// writeMegabytes sets values of 100 KB until so many megabytes are written.
func writeMegabytes(t *testing.T, s *Store, n int, more func() bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n*10 && more(); i++ {
		_, raft := s.Position()
		r := s.Apply(raft+1, &Command{Op: OpSet, Key: ParseKey(fmt.Sprintf("/d/k%d", i%300)), Value: noise(random, 100_000)})
		if r.Failure != nil {
			return
		}
		if i%20 == 0 {
			_ = s.Flush() // a failure is seen at the next Apply
		}
	}
}

// A table that Badger could not create when it compacted is missed, and the
// store is not used any more.
func TestLostTableIsMissed(t *testing.T) {
	dir := t.TempDir()
	s := openFor(t, Options{Dir: dir, History: 10})
	defer s.Close() // fails, too
	failed := func() bool {
		select {
		case <-s.Failed():
			return true
		default:
			return false
		}
	}
	// Flushes take numbers, too, and say so when they fail. So numbers are in
	// the way only while something is compacted.
	writeMegabytes(t, s, 400, func() bool {
		if _, idle := compacting().now(); !idle {
			next := s.kv.db.newestTable() + 1
			for number := next; number < next+3; number++ {
				path := tablePath(s.kv.db.dir, number)
				if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
					_ = f.Close()
				}
			}
		}
		return !failed()
	})
	deadline := time.Now().Add(20 * time.Second)
	for !failed() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	err := s.Err()
	t.Log(err)
	if err == nil {
		t.Fatal("nothing was noticed")
	}
	if errors.Is(err, ErrDamaged) {
		if _, err := os.Stat(filepath.Join(dir, damagedFile)); err != nil {
			t.Error(err)
		}
	}
}

// While tables come and go none is taken for lost.
func TestNoTableIsTakenForLost(t *testing.T) {
	s := openFor(t, Options{History: 10})
	defer mustClose(t, s)
	begun, _ := compacting().now()
	writeMegabytes(t, s, 120, func() bool { return true })
	if now, _ := compacting().now(); now == begun {
		t.Fatal("nothing was compacted")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		v, err := s.kv.latest()
		if err != nil {
			t.Fatal(err)
		}
		settled, err := (&database{badger: v.db.badger, dir: v.db.dir}).lostTable(compacting())
		v.release()
		if err != nil || s.Err() != nil {
			t.Fatal(err, s.Err())
		}
		if settled {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is never told")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
