package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"
)

// manifest is the log in which Badger notes what tables there are: 8 bytes of
// magic, and then sets of changes, each behind its length and its CRC-32C, 4 bytes
// big-endian each.
type manifest struct {
	sets []*pb.ManifestChangeSet
	end  int64 // of the last set that can be read
	bad  bool  // what follows is wrong, not just cut off, and Badger will refuse it

	missing bool // there is none
}

const (
	manifestMagic = 8
	manifestHead  = 8
)

func manifestPath(dir string) string { return filepath.Join(dir, "MANIFEST") }

// readManifest reads the manifest of the database in dir; that of none is empty. Badger
// takes whatever it cannot read at the end of a manifest for a write that a crash cut short, removes the
// tables that were named there and says nothing: the witness knows how far it went.
func readManifest(dir string) (manifest, error) {
	b, err := os.ReadFile(manifestPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{missing: true}, nil
	}
	if err != nil {
		return manifest{}, fmt.Errorf("store: %w", err)
	}
	if len(b) < manifestMagic {
		return manifest{}, nil
	}
	return parseManifest(b[manifestMagic:], manifestMagic), nil
}

// parseManifest reads the part b of a manifest that begins with a set, at byte begin of the file.
func parseManifest(b []byte, begin int64) (m manifest) {
	m.end = begin
	for len(b) >= manifestHead {
		size, sum := uint64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
		b = b[manifestHead:]
		if size > uint64(len(b)) {
			break
		}
		set := &pb.ManifestChangeSet{}
		if crc32.Checksum(b[:size], castagnoli) != sum || proto.Unmarshal(b[:size], set) != nil {
			m.bad = true
			break
		}
		m.sets, m.end = append(m.sets, set), m.end+manifestHead+int64(size)
		b = b[size:]
	}
	return m
}

// manifestReader reads what has come to a manifest since it was last read.
type manifestReader struct {
	file os.FileInfo // of what was read
	end  int64
}

// read returns the new sets. If the manifest was written anew, which Badger does after some thousands of
// changes, they begin with one that names all tables there are.
func (r *manifestReader) read(dir string) (sets []*pb.ManifestChangeSet, anew bool, err error) {
	f, err := os.Open(manifestPath(dir))
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	if anew = r.file == nil || !os.SameFile(r.file, info) || info.Size() < r.end; anew {
		r.file, r.end = info, manifestMagic
	}
	b, err := io.ReadAll(io.NewSectionReader(f, r.end, max(info.Size()-r.end, 0)))
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	m := parseManifest(b, r.end)
	r.end = m.end
	return m.sets, anew, nil
}

// tables is what tables there are, by their numbers, each as it was created.
type tables map[uint64]*pb.ManifestChange

func (t tables) apply(set *pb.ManifestChangeSet) {
	for _, change := range set.Changes {
		if removes(change) {
			delete(t, change.Id)
		} else {
			t[change.Id] = change
		}
	}
}

// live returns the tables that there are after all changes, and the highest
// number of one that the manifest speaks of. Other tables that lie about are
// what a crash has left of making them.
func (m *manifest) live() (live tables, highest uint64) {
	live = tables{}
	for _, set := range m.sets {
		live.apply(set)
		for _, change := range set.Changes {
			highest = max(highest, change.Id)
		}
	}
	return live, highest
}

// appendManifest makes a set of changes the last one.
func appendManifest(dir string, end int64, set *pb.ManifestChangeSet) (err error) {
	body, err := proto.Marshal(set)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	f, err := os.OpenFile(manifestPath(dir), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(end); err != nil {
		return err
	}
	if _, err := f.WriteAt(append(b, body...), end); err != nil {
		return err
	}
	return f.Sync()
}
