package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	// do damages a file, of which the first used bytes are read. The result is nil when nothing is left.
	do func(rng *rand.Rand, b []byte, used int) []byte
}

func rots() []rot {
	flips := func(one int) func(*rand.Rand, []byte, int) []byte {
		return func(rng *rand.Rand, b []byte, used int) []byte {
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
		{"cut", func(rng *rand.Rand, b []byte, used int) []byte {
			return b[:max(0, min(len(b), used)-1-rng.IntN(1023))]
		}},
		{"zeros", func(rng *rand.Rand, b []byte, used int) []byte {
			at := rng.IntN(max(1, used)) &^ 4095
			clear(b[at:min(at+4096, len(b))])
			return b
		}},
		{"gone", func(*rand.Rand, []byte, int) []byte { return nil }},
	}
}

// inflict damages a file and reports whether it is another one now.
func (r *rot) inflict(rng *rand.Rand, path string) (bool, error) {
	before, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("damage: %w", err)
	}
	used := len(bytes.TrimRight(before, "\x00")) // what was reserved is not read
	if filepath.Ext(path) == ".log" {
		used = logEnd(path, before)
	}
	after := r.do(rng, bytes.Clone(before), used)
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

// logEnd is where a log of Pebble's ends: it may have been another one before, whose rest follows. Blocks of 32 KiB hold
// chunks: a checksum of 4 bytes, a length of 2, a type of 1 and the number of the log of 4, and the content.
func logEnd(path string, b []byte) int {
	const block, header = 32 << 10, 11
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
	if err != nil {
		return len(b)
	}
	end := 0
	for at := 0; at+header <= len(b); {
		if block-at%block < header {
			at += block - at%block
			continue
		}
		size, of := int(binary.LittleEndian.Uint16(b[at+4:])), binary.LittleEndian.Uint32(b[at+7:])
		if kind := b[at+6]; kind < 5 || kind > 8 || of != uint32(number) || at+header+size > len(b) { //nolint:gosec // as Pebble cuts it
			break
		}
		at += header + size
		end = at
	}
	return end
}
