package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

func TestEntry(t *testing.T) {
	commands := []store.Command{
		{Op: store.OpSet, Key: store.ParseKey("/a"), Value: strings.Repeat("v", 300)},
		{Op: store.OpTick},
		{Op: store.OpDelete, Key: store.ParseKey("/a/b"), Origin: 7, Boot: 8, Seq: 9, Settled: 5},
	}
	var entry, scratch []byte
	for i := range commands {
		entry, scratch = appendCommand(entry, scratch, &commands[i])
	}
	got, err := readEntry(entry, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(commands, got, cmp.AllowUnexported(store.Key{})); diff != "" {
		t.Errorf("read differs from what was written (-want +got):\n%s", diff)
	}
	whole := 0
	for n := range entry {
		got, err := readEntry(entry[:n], nil)
		if err != nil {
			continue
		}
		// A cut between two commands cannot be told from a shorter entry.
		if len(got) != whole {
			t.Errorf("%d bytes of %d: read %d commands", n, len(entry), len(got))
		}
		whole++
	}
	if whole != len(commands) {
		t.Errorf("read without an error after %d cuts, want %d", whole, len(commands))
	}
}
