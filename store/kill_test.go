package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/store"
)

// childDir is set in the environment of the process that is killed.
const childDir = "WITAN_STORE_KILL_DIR"

// logEntry returns command number n of an endless log, always the same one.
func logEntry(n uint64) store.Command {
	rnd := rand.New(rand.NewPCG(n, 1))
	k := store.ParseKey(fmt.Sprintf("/d%d/e%d/k%d", rnd.IntN(3), rnd.IntN(3), rnd.IntN(20)))
	ops := []store.Op{
		store.OpSet, store.OpSet, store.OpSet, store.OpCreate, store.OpUpdate,
		store.OpCreateInOrder, store.OpDelete, store.OpAdvance,
	}
	c := store.Command{Op: ops[rnd.IntN(len(ops))], Key: k, Value: strings.Repeat("v", rnd.IntN(300))}
	c.Origin, c.Boot, c.Seq, c.Settled = n%3+1, 1, n, n-min(n, 10)
	switch c.Op {
	case store.OpSet:
		if rnd.IntN(3) == 0 {
			c.HasTTL, c.TTL = true, int64(rnd.IntN(4))
		}
	case store.OpCreateInOrder:
		c.Key = k.Parent()
	case store.OpDelete:
		if rnd.IntN(20) == 0 {
			c.Key, c.Recursive = k.Parent(), true
		}
	}
	return c
}

// play applies entry n to the store. The clock of an advance is the store's.
func play(s *store.Store, n uint64) store.Result {
	c := logEntry(n)
	if c.Op == store.OpAdvance {
		c = store.Command{Op: store.OpAdvance, Step: int64(store.Tick)}
		c.Clock, _ = s.Clock()
	}
	return s.Apply(n, &c)
}

func killOptions(dir string) store.Options {
	return store.Options{Dir: dir, Groups: 1, FirstIndex: 3, History: 500, FlushInterval: 3 * time.Millisecond}
}

// runChild applies the log to the store in dir and says what it has done,
// until it is killed.
func runChild(dir string) {
	s, err := store.Open(killOptions(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for n := s.Applied() + 1; ; n++ {
		if r := play(s, n); r.Failure != nil {
			fmt.Println("error", r.Failure)
			os.Exit(1)
		}
		fmt.Println(n, s.Applied())
	}
}

// TestKill kills a process that applies, again and again, and checks that the
// store opens at a position it had been told of, no lower than what was said
// to be durable, and in exactly the state of that position.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	reference := newReplica(t, t.TempDir(), killOptions(""))
	defer reference.close()
	rnd := rand.New(rand.NewPCG(7, 7))
	played := uint64(0)
	for range 6 {
		applied, durable := killOnce(t, dir, 100+rnd.IntN(3000))
		s, err := store.Open(killOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		at := s.Applied()
		if at < durable || at > applied {
			t.Fatalf("opened at %d; %d was durable and %d applied", at, durable, applied)
		}
		for ; played < at; played++ {
			play(reference.Store, played+1)
		}
		survivor := &replica{t: t, Store: s}
		if got, want := survivor.dump(), reference.dump(); got != want {
			t.Fatalf("after a kill at %d:\n%s\nwant:\n%s", at, got, want)
		}
		compareDigests(t, s, reference.Store)
		survivor.close()
	}
}

// killOnce runs a child, kills it after some lines, and returns what it said last.
func killOnce(t *testing.T, dir string, lines int) (applied, durable uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		first, second, _ := strings.Cut(in.Text(), " ")
		if applied, err = strconv.ParseUint(first, 10, 64); err != nil {
			t.Fatal(in.Text())
		}
		if durable, err = strconv.ParseUint(second, 10, 64); err != nil {
			t.Fatal(in.Text())
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	// The child may have applied one entry more than it could tell of.
	return applied + 1, durable
}

func compareDigests(t *testing.T, a, b *store.Store) {
	t.Helper()
	aRaft, aIndex, aHash := a.Digest()
	bRaft, bIndex, bHash := b.Digest()
	if aRaft != bRaft || aIndex != bIndex || aHash != bHash {
		t.Fatalf("digests differ: %d %d %x, %d %d %x", aRaft, aIndex, aHash, bRaft, bIndex, bHash)
	}
}
