package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

// FuzzDecode checks that no bytes make Decode panic, and that what it accepts
// is a command that its encoding gives back.
func FuzzDecode(f *testing.F) {
	for n := range uint64(50) {
		c := logEntry(n)
		f.Add(c.Encode())
	}
	f.Add((&store.Command{Op: store.OpAdvance, Clock: 1 << 60, Step: int64(store.Tick)}).Encode())
	f.Add((&store.Command{
		Op: store.OpCompareAndSwap, Key: store.ParseKey("/a"), PrevValue: "x", PrevIndex: 7, Floor: 1 << 63,
		HasTTL: true, TTL: store.MaxTTL, Expiration: -1,
	}).Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := store.Decode(b)
		if err != nil {
			return
		}
		if store.ParseKey(c.Key.String()) != c.Key {
			t.Fatalf("key %q is not canonical", c.Key)
		}
		again, err := store.Decode(c.Encode())
		if err != nil {
			t.Fatalf("what was accepted is refused: %v", err)
		}
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(store.Key{})); diff != "" {
			t.Fatalf("encoding changes the command: %s", diff)
		}
	})
}

// TestDecodeRefuses lists what must not be taken for a command.
func TestDecodeRefuses(t *testing.T) {
	good := store.Command{Op: store.OpSet, Key: store.ParseKey("/a/b"), Value: "v"}
	bad := map[string][]byte{
		"nothing":         {},
		"another format":  append([]byte{2}, good.Encode()[1:]...),
		"no operation":    {1, 0, 0, 0},
		"operation 10":    {1, 10, 0, 0},
		"unknown flag":    {1, 1, 0x80, 0x04, 0},
		"cut":             good.Encode()[:5],
		"too much":        append(good.Encode(), 0),
		"relative key":    {1, 1, 0, 1, 'a'},
		"trailing slash":  {1, 1, 0, 3, '/', 'a', '/'},
		"dots":            {1, 1, 0, 3, '/', '.', '.'},
		"empty component": {1, 1, 0, 4, '/', '/', 'a', 'b'},
		"TTL too long":    (&store.Command{Op: store.OpSet, HasTTL: true, TTL: store.MaxTTL + 1}).Encode(),
		"clock before 0":  (&store.Command{Op: store.OpAdvance, Clock: -1}).Encode(),
	}
	for name, b := range bad {
		if c, err := store.Decode(b); err == nil {
			t.Errorf("%s is decoded as %+v", name, c)
		}
	}
}
