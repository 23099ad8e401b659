package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
}

const (
	manifestMagic = 8
	manifestHead  = 8
)

func manifestPath(dir string) string { return filepath.Join(dir, "MANIFEST") }

// readManifest reads the manifest of the database in dir; that of none is empty. Badger
// takes whatever it cannot read at the end of a manifest for a write that a crash cut short, removes the
// tables that were named there and says nothing: the witness knows how far it went.
func readManifest(dir string) (m manifest, err error) {
	b, err := os.ReadFile(manifestPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("store: %w", err)
	}
	for at := manifestMagic; at+manifestHead <= len(b); {
		begin := at + manifestHead
		size := uint64(binary.BigEndian.Uint32(b[at:]))
		if size > uint64(len(b)-begin) {
			break
		}
		at = begin + int(size)
		set := &pb.ManifestChangeSet{}
		if crc32.Checksum(b[begin:at], castagnoli) != binary.BigEndian.Uint32(b[begin-4:]) || proto.Unmarshal(b[begin:at], set) != nil {
			m.bad = true
			break
		}
		m.sets, m.end = append(m.sets, set), int64(at)
	}
	return m, nil
}

// tables is what tables there are, by their numbers, each as it was created.
type tables map[uint64]*pb.ManifestChange

func (t tables) apply(set *pb.ManifestChangeSet) {
	for _, change := range set.Changes {
		if change.Op == pb.ManifestChange_DELETE {
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
