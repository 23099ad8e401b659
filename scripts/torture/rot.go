package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fileKind is a class of files in a witan member's data directory.
type fileKind struct {
	name  string
	holds func(path string) bool // path is relative to the data directory
	last  bool                   // only the newest is read
}

// fileKinds are all classes; what none of them holds is not read.
func fileKinds() []fileKind {
	store := func(pattern string) func(string) bool {
		return func(path string) bool {
			ok, _ := filepath.Match("group-*/db-*/"+pattern, path)
			return ok
		}
	}
	log := func(pattern string) func(string) bool {
		return func(path string) bool {
			ok, _ := filepath.Match("raft/*/*/logdb-*/"+pattern, path)
			return ok
		}
	}
	whole := func(pattern string) func(string) bool {
		return func(path string) bool {
			ok, _ := filepath.Match(pattern, path)
			return ok
		}
	}
	return []fileKind{
		{name: "store table", holds: store("*.sst")},
		{name: "store memtable log", holds: store("*.mem")},
		{name: "store value log", holds: store("*.vlog")},
		{name: "store MANIFEST", holds: store("MANIFEST")},
		{name: "store KEYREGISTRY", holds: store("KEYREGISTRY")},
		{name: "store DISCARD", holds: store("DISCARD")},
		{name: "store WITNESS", holds: store("WITNESS")},
		{name: "store CURRENT", holds: whole("group-*/CURRENT")},
		{name: "store LOCK", holds: whole("group-*/LOCK")},
		{name: "raft log", holds: log("*.log"), last: true},
		{name: "raft table", holds: log("*.sst")},
		{name: "raft MANIFEST", holds: log("MANIFEST-*"), last: true},
		{name: "raft CURRENT", holds: log("CURRENT")},
		{name: "raft OPTIONS", holds: log("OPTIONS-*"), last: true},
		{name: "raft snapshot", holds: func(path string) bool {
			return strings.HasPrefix(path, "raft/") && strings.Contains(path, "snapshot-part-1") && strings.HasSuffix(path, ".gbsnap")
		}},
		{name: "raft snapshot of a key group", holds: func(path string) bool {
			return strings.HasPrefix(path, "raft/") && strings.Contains(path, "snapshot-part-") &&
				!strings.Contains(path, "snapshot-part-1/") && strings.HasSuffix(path, ".gbsnap")
		}},
		{name: "raft witness", holds: whole("raft/witness")},
		{name: "raft node id", holds: whole("raft/NODEHOST.ID")},
		{name: "raft settings", holds: whole("raft/dragonboat.ds")},
		{name: "identity", holds: whole("identity.json")},
		{name: "lock", holds: whole("lock")},
	}
}

// files are those of a class in a data directory.
func (p *fileKind) files(dir string) ([]string, error) {
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".damaged") { // was set aside
			return fs.SkipDir
		}
		if err != nil || e.IsDir() || !p.holds(path) {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() == 0 {
			return err
		}
		out = append(out, filepath.Join(dir, path))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for a %s: %w", p.name, err)
	}
	if slices.Sort(out); p.last && len(out) > 1 {
		out = out[len(out)-1:]
	}
	return out, nil
}

// rot is a kind of damage.
type rot struct {
	name string
	do   func(*rand.Rand, []byte) []byte // nil when nothing is left
}

func rots() []rot {
	flips := func(one int) func(*rand.Rand, []byte) []byte {
		return func(rng *rand.Rand, b []byte) []byte {
			used := len(bytes.TrimRight(b, "\x00")) // what was reserved is not read
			for range max(1, used/one) {
				b[rng.IntN(max(1, used))] ^= 1 << rng.IntN(8)
			}
			return b
		}
	}
	return []rot{
		{"one bit", flips(1 << 40)},
		{"one byte in 100,000", flips(100_000)},
		{"one byte in 1,000", flips(1_000)},
		{"cut", func(rng *rand.Rand, b []byte) []byte {
			used := len(bytes.TrimRight(b, "\x00"))
			return b[:max(0, min(len(b)-1, used-rng.IntN(1024)))]
		}},
		{"zeros", func(rng *rand.Rand, b []byte) []byte {
			used := len(bytes.TrimRight(b, "\x00"))
			at := rng.IntN(max(1, used)) &^ 4095
			clear(b[at:min(at+4096, len(b))])
			return b
		}},
		{"gone", func(*rand.Rand, []byte) []byte { return nil }},
	}
}

// inflict damages a file and reports whether it is another one now.
func (r *rot) inflict(rng *rand.Rand, path string) (bool, error) {
	before, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("damage: %w", err)
	}
	after := r.do(rng, bytes.Clone(before))
	if after == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, after, 0o600)
	}
	if err != nil {
		return false, fmt.Errorf("damage: %w", err)
	}
	now, err := os.ReadFile(path)
	if err != nil && (after != nil || !errors.Is(err, fs.ErrNotExist)) {
		return false, fmt.Errorf("damage: %w", err)
	}
	return err != nil || !bytes.Equal(before, now), nil
}
