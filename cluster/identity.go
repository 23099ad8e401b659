package cluster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// identity says whose data a data directory holds. It is written and synced
// before the first replica starts and checked before anything is opened
// (design §7): Dragonboat panics, or loses writes in silence, when a replica
// comes back with settings or data that are not its own.
type identity struct {
	Format    int    `json:"format"`
	ClusterID uint64 `json:"clusterID,string"`
	MemberID  uint64 `json:"memberID,string"`
	Groups    int    `json:"groups"`
	// FirstIndex is the index a fresh key store starts from: etcd spends 2M+1
	// indexes on bootstrapping M members (contract §1.13).
	FirstIndex uint64 `json:"firstIndex"`
	// Members are the initial members, for whom every group was made.
	Members []identityMember `json:"members"`
	// What Dragonboat freezes at the first start.
	LogStore   string `json:"logStore"`
	LogShards  uint64 `json:"logShards"`
	ExecShards uint64 `json:"execShards"`
	// Started says that every replica was started once: from then on a missing
	// raft log is a loss, not a first start.
	Started bool `json:"started"`
	// Published says that the cluster has taken the member in with this data.
	Published bool `json:"published,omitempty"`

	// Joined says that the member was added to a running cluster. Its replicas
	// began as learners, and Dragonboat has to be told so at every start, long
	// after they have become voters (engine §0.9).
	Joined bool `json:"joined,omitempty"`
	// Contacts are the members a joining one learned of, for as long as it has
	// not caught up with the table of members.
	Contacts []identityMember `json:"contacts,omitempty"`

	// Instance is a random number made with the directory, and Boots how often
	// the member has started from it. The cluster remembers both: a directory
	// that was wiped comes back with another instance, one that was rolled
	// back with boots that were used before.
	Instance uint64 `json:"instance,string"`
	Boots    uint64 `json:"boots"`

	// Seed names the backup or the survivor this cluster's first state comes
	// from, when it did not begin empty. Then nobody may replay a key group's
	// log from its beginning without that state.
	Seed string `json:"seed,omitempty"`
	// Removed are ids that never come back, as they were when the cluster began.
	Removed []uint64 `json:"removed,omitempty"`
	// Rebuilt tells of groups whose store was rebuilt from another member's
	// (rebuild.go) up to which log entry, which may lie behind the log's end.
	Rebuilt map[int]uint64 `json:"rebuilt,omitempty"`
	// Forced says that the member went on alone and has not been started
	// without ForceNewCluster since (force.go).
	Forced bool `json:"forced,omitempty"`

	// Checksum is the CRC-32C of the file with noChecksum in its place, in hex.
	Checksum string `json:"checksum,omitempty"`
}

const noChecksum = "00000000"

// checksumField is how a checksum stands in the file.
func checksumField(sum string) []byte { return []byte(`"checksum": "` + sum + `"`) }

func identityChecksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// encode returns the content of the file.
func (id *identity) encode() ([]byte, error) {
	blank := *id
	blank.Checksum = noChecksum
	b, err := json.MarshalIndent(&blank, "", "  ")
	if err != nil {
		return nil, err
	}
	return bytes.Replace(b, checksumField(noChecksum), checksumField(identityChecksum(b)), 1), nil
}

// sound reports whether an identity is what was written. Those of before there was a checksum are taken for it.
func (id *identity) sound(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return id.Checksum == "" || identityChecksum(bytes.Replace(b, checksumField(id.Checksum), checksumField(noChecksum), 1)) == id.Checksum
}

type identityMember struct {
	ID       uint64   `json:"id,string"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
}

const (
	identityFormat = 1
	identityFile   = "identity.json"

	logStore   = "pebble"
	logShards  = 1
	execShards = 1
)

// newIdentity makes the identity of an initial member.
func newIdentity(c *Config) (*identity, error) {
	id := &identity{
		Format: identityFormat, Groups: c.Groups, Instance: rand.Uint64(),
		LogStore: logStore, LogShards: logShards, ExecShards: execShards,
	}
	var ids []uint64
	for _, p := range c.InitialCluster {
		m := identityMember{ID: MemberID(p.URLs, c.Token), Name: p.Name, PeerURLs: slices.Sorted(slices.Values(p.URLs))}
		if slices.Contains(ids, m.ID) {
			return nil, fmt.Errorf("cluster: the initial cluster names the peer URLs of %q twice", p.Name)
		}
		ids = append(ids, m.ID)
		id.Members = append(id.Members, m)
		if p.Name == c.Name {
			id.MemberID = m.ID
		}
	}
	if id.MemberID == 0 {
		return nil, fmt.Errorf("cluster: couldn't find local name %q in the initial cluster configuration", c.Name)
	}
	id.ClusterID = clusterID(ids)
	id.FirstIndex = uint64(2*len(ids) + 1)
	slices.SortFunc(id.Members, func(a, b identityMember) int { return cmp.Compare(a.ID, b.ID) })
	return id, nil
}

// loadIdentity reads the identity of a data directory, nil if it has none.
func loadIdentity(dir string) (*identity, error) { return loadIdentityFrom(dir, identityFile) }

func loadIdentityFrom(dir, name string) (*identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	id := new(identity)
	err = json.Unmarshal(b, id)
	if err == nil && !id.sound(b) {
		err = errors.New("its checksum is wrong")
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: %s in %s cannot be read (%w); restore it from a copy, or remove this member and add it again with an empty data directory", name, dir, err)
	}
	if id.Format != identityFormat {
		return nil, fmt.Errorf("cluster: the data in %s has format %d, this program knows %d: start the version that wrote it", dir, id.Format, identityFormat)
	}
	if id.LogStore != logStore || id.LogShards != logShards || id.ExecShards != execShards {
		return nil, fmt.Errorf("cluster: the data in %s was written with another raft log layout (%s, %d, %d)", dir, id.LogStore, id.LogShards, id.ExecShards)
	}
	return id, nil
}

// HasData reports whether a data directory belongs to a member.
func HasData(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cluster: %w", err)
	}
	return true, nil
}

// save writes the identity so that it survives a power cut.
func (id *identity) save(dir string) error { return id.saveAs(dir, identityFile) }

func (id *identity) saveAs(dir, name string) error {
	b, err := id.encode()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := writeFileSync(dir, name, append(b, '\n')); err != nil {
		return fmt.Errorf("cluster: write the identity: %w", err)
	}
	return nil
}

// writeFileSync replaces a file in dir by way of a temporary one, with both
// the content and the directory entry on disk when it returns.
func writeFileSync(dir, name string, content []byte) error {
	tmp := filepath.Join(dir, name+".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
