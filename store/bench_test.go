package store_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/witan-kv/witan/store"
)

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	s, err := store.Open(store.Options{Dir: b.TempDir(), Groups: 1, FirstIndex: 3})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

var benchValue = strings.Repeat("v", 64)

func benchKeys(n int) []store.Key {
	keys := make([]store.Key, n)
	for i := range keys {
		keys[i] = store.ParseKey(fmt.Sprintf("/dir/sub/key-%06d", i))
	}
	return keys
}

func applyAll(b *testing.B, s *store.Store, commands func(i int) store.Command) {
	b.Helper()
	_, raft := s.Position()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := commands(i)
		raft++
		if r := s.Apply(raft, &c); r.Failure != nil || r.Err != nil {
			b.Fatal(r.Failure, r.Err)
		}
	}
}

func BenchmarkApplySetExisting(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s, keys := benchStore(b), benchKeys(n)
			for i, k := range keys {
				s.Apply(uint64(i+1), &store.Command{Op: store.OpSet, Key: k, Value: benchValue})
			}
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			applyAll(b, s, func(i int) store.Command {
				return store.Command{Op: store.OpSet, Key: keys[i*7919%n], Value: benchValue}
			})
		})
	}
}

func BenchmarkApplyCreate(b *testing.B) {
	s := benchStore(b)
	applyAll(b, s, func(i int) store.Command {
		return store.Command{Op: store.OpCreate, Key: store.ParseKey("/dir/sub/" + fmt.Sprint(i)), Value: benchValue}
	})
}

func BenchmarkApplyInOrder(b *testing.B) {
	s, dir := benchStore(b), store.ParseKey("/queue")
	applyAll(b, s, func(int) store.Command {
		return store.Command{Op: store.OpCreateInOrder, Key: dir, Value: benchValue}
	})
}

func BenchmarkApplyTTL(b *testing.B) {
	s, keys := benchStore(b), benchKeys(1000)
	applyAll(b, s, func(i int) store.Command {
		return store.Command{Op: store.OpSet, Key: keys[i%len(keys)], Value: benchValue, HasTTL: true, TTL: int64(i % 60), Expiration: 1}
	})
}

func BenchmarkGet(b *testing.B) {
	const n = 1000 // less than is written at once
	for _, flushed := range []bool{false, true} {
		name := "pending"
		if flushed {
			name = "disk"
		}
		b.Run(name, func(b *testing.B) {
			o := store.Options{Dir: b.TempDir(), Groups: 1, FirstIndex: 3, FlushInterval: never}
			s, err := store.Open(o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			keys := benchKeys(n)
			for i, k := range keys {
				s.Apply(uint64(i+1), &store.Command{Op: store.OpSet, Key: k, Value: benchValue})
			}
			if flushed {
				if err := s.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, refused := s.Get(keys[i*7919%n], false); refused != nil {
					b.Fatal(refused)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	s := benchStore(b)
	for i := range 10 {
		k := store.ParseKey(fmt.Sprintf("/dir/key-%d", i))
		s.Apply(uint64(i+1), &store.Command{Op: store.OpSet, Key: k, Value: benchValue})
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	dir := store.ParseKey("/dir")
	b.ReportAllocs()
	for b.Loop() {
		if e, _, refused := s.Get(dir, false); refused != nil || len(e.Node.Nodes) != 10 {
			b.Fatal(refused)
		}
	}
}

func BenchmarkEvents(b *testing.B) {
	s, keys := benchStore(b), benchKeys(100)
	for i := range 10_000 {
		s.Apply(uint64(i+1), &store.Command{Op: store.OpSet, Key: keys[i%100], Value: benchValue})
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Run("written", func(b *testing.B) { benchEvents(b, s) })
	restored := benchStore(b)
	snap, err := s.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	var buf bytes.Buffer
	err = snap.WriteTo(&buf, nil)
	snap.Close()
	if err == nil {
		err = restored.Restore(&buf, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Run("restored", func(b *testing.B) { benchEvents(b, restored) })
}

func benchEvents(b *testing.B, s *store.Store) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if events, err := s.Events(5000, 5099, 100); err != nil || len(events) != 100 {
			b.Fatal(err)
		}
	}
}
