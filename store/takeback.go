package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4/pb"
)

// takeBack takes back the last compactions of a database that is not open, if
// one of them may have lost a table: its old tables are there. They are kept until the new ones were found complete (see
// compactions); what they hold is all that was to be compacted.
// Where nothing was lost, taking a compaction back costs its work and nothing
// else: tables with newer versions of the keys stay above the old ones.
//
// It reports how many tables have come back.
func takeBack(dir string) (restored int, err error) {
	back, err := planTakeBack(dir)
	if err != nil || back == nil {
		return 0, err
	}
	for _, change := range back.set.Changes {
		if change.Op != pb.ManifestChange_CREATE {
			continue
		}
		if err := checkTable(tablePath(dir, change.Id)); err != nil {
			return 0, err
		}
		restored++
	}
	if err := appendManifest(dir, back.end, back.set); err != nil {
		return 0, fmt.Errorf("store: take back a compaction: %w", err)
	}
	return restored, nil
}

// retraction is what is to be added to a manifest, and where, to take changes back.
type retraction struct {
	set *pb.ManifestChangeSet
	end int64
}

// planTakeBack returns what takes back the last compactions, nil if none need be
// or their old tables are gone.
func planTakeBack(dir string) (*retraction, error) { //nolint:nilnil // see above
	m, err := readManifest(dir)
	if err != nil || m.bad {
		return nil, err
	}
	files, err := listTables(dir)
	if err != nil {
		return nil, err
	}
	live, _ := m.live()
	best := live
	for i := len(m.sets) - 1; i >= 0; i-- {
		if !compacts(m.sets[i]) {
			continue
		}
		if !files.haveRemoved(m.sets[i]) {
			break
		}
		best = m.without(i)
	}
	set := difference(live, best)
	if len(set.Changes) == 0 {
		return nil, nil
	}
	return &retraction{set: set, end: m.end}, nil
}

// without returns the tables that there would be without the compactions from set i on.
func (m *manifest) without(i int) tables {
	t := tables{}
	for at, set := range m.sets {
		if at < i || !compacts(set) {
			t.apply(set)
		}
	}
	return t
}

// compacts reports whether a set of changes is a compaction's: a flush removes nothing.
func compacts(set *pb.ManifestChangeSet) bool {
	return slices.ContainsFunc(set.Changes, removes)
}

func removes(change *pb.ManifestChange) bool { return change.Op == pb.ManifestChange_DELETE }

// difference returns the changes that lead from one set of tables to another.
func difference(from, to tables) *pb.ManifestChangeSet {
	set := &pb.ManifestChangeSet{}
	for _, number := range slices.Sorted(maps.Keys(from)) {
		if to[number] == nil {
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: number, Op: pb.ManifestChange_DELETE})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(to)) {
		if from[number] == nil {
			set.Changes = append(set.Changes, to[number])
		}
	}
	return set
}

// tableFiles tells of the tables whose files are there whether there is something
// in them: when Badger removes one, it empties it first.
type tableFiles map[uint64]bool

func listTables(dir string) (tableFiles, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	files := tableFiles{}
	for _, path := range paths {
		number, ok := tableNumber(path)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if ok {
			files[number] = info.Size() > 0
		}
	}
	return files, nil
}

// tableNumber returns the number of a table by its file's name.
func tableNumber(path string) (number uint64, ok bool) {
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".sst"), 10, 64)
	return number, err == nil
}

// haveRemoved reports whether all tables that a set of changes removes are there.
func (f tableFiles) haveRemoved(set *pb.ManifestChangeSet) bool {
	return !slices.ContainsFunc(set.Changes, func(change *pb.ManifestChange) bool {
		return removes(change) && !f[change.Id]
	})
}
