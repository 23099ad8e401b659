package cluster

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/witan-kv/witan/cluster/peer"
	"github.com/witan-kv/witan/store"
)

// Going on alone (contract §5.7). A member whose cluster has lost its quorum
// for good keeps its id, the cluster's id, all keys, indexes and the history,
// and is the only member from then on. What it has of the log is applied as
// far as it knows it to be committed; then the stores become the beginning of
// new, empty logs, as those of a restored cluster.
//
// nextFile is the step from which on there is no way back: the identity to
// come. Whoever starts from the directory afterwards completes what it says,
// whatever the flags are, and each step of that may be done twice.
const nextFile = "identity.next.json"

// goOnAlone does what --force-new-cluster asks for, once: a flag that stays in
// a unit file must not throw members out that were added since.
func (n *Node) goOnAlone(ctx context.Context) error {
	switch {
	case !n.cfg.ForceNewCluster:
		n.id.Forced = false // saved with the number of this start
		return nil
	case n.id != nil && n.id.Forced:
		n.log.Warn().Msg("--force-new-cluster was done at an earlier start and is not done again; remove the flag (a start without it makes it count again)")
		return nil
	}
	n.log.Warn().Msg("--force-new-cluster: this member goes on alone; all other members are removed for good")
	next, err := n.replay(ctx)
	if err != nil {
		return fmt.Errorf("cluster: --force-new-cluster: %w", err)
	}
	if err := next.saveAs(n.cfg.DataDir, nextFile); err != nil {
		return err
	}
	n.log.Warn().Strs("removed", targets(next.Removed)).Msg("--force-new-cluster: these members never come back")
	return n.completeAlone()
}

// completeAlone finishes what goOnAlone has decided, now or at an earlier
// start that was cut short.
func (n *Node) completeAlone() error {
	dir := n.cfg.DataDir
	next, err := loadIdentityFrom(dir, nextFile)
	if err != nil || next == nil {
		return err
	}
	for g := range next.Groups {
		if err := reseed(storeOptions(&n.cfg, next, g), next.Seed); err != nil {
			return fmt.Errorf("cluster: --force-new-cluster: group %d: %w", g, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, raftDir)); err != nil {
		return fmt.Errorf("cluster: --force-new-cluster: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("cluster: --force-new-cluster: %w", err)
	}
	if err := os.Rename(filepath.Join(dir, nextFile), filepath.Join(dir, identityFile)); err != nil {
		return fmt.Errorf("cluster: --force-new-cluster: %w", err)
	}
	n.id = next
	return syncDir(dir)
}

func reseed(o store.Options, seed string) error {
	st, err := store.Open(o)
	if err != nil {
		return err
	}
	return errors.Join(st.Reseed(seed), st.Close())
}

// replay applies what is committed and not yet in the stores, out of reach of
// all other members, and returns the identity of this member alone.
func (n *Node) replay(ctx context.Context) (next *identity, err error) {
	if n.id == nil || !n.id.Started {
		return nil, fmt.Errorf("%s holds no member that has been in a cluster; there is nothing to go on with", n.cfg.DataDir)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.DataDir, raftDir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the raft log in %s is gone, and nobody knows what of the data was agreed on; go on with another member's directory, or restore a backup", n.cfg.DataDir)
	}
	a, err := openAside(&n.cfg, n.id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.start(); err != nil {
		return nil, fmt.Errorf("this directory cannot be gone on with: %w; choose another survivor, or restore a backup", err)
	}
	if err := a.applyCommitted(ctx); err != nil {
		return nil, err
	}
	return n.id.alone(&a.meta.table)
}

// alone returns the identity of a member that is its cluster's only one.
func (id *identity) alone(t *table) (*identity, error) {
	self, known := t.Members[id.MemberID]
	if !known || !self.started() {
		return nil, errors.New("this member had not caught up with its cluster and does not have its data; choose another survivor")
	}
	if self.Leaving {
		return nil, errors.New("this member was being removed from its cluster; choose another survivor")
	}
	random := make([]byte, 16)
	if _, err := crand.Read(random); err != nil {
		return nil, err
	}
	removed := slices.Clone(t.Removed)
	for _, other := range slices.Sorted(maps.Keys(t.Members)) {
		if other != id.MemberID {
			removed = append(removed, other)
		}
	}
	next := *id
	next.Members = []identityMember{{ID: id.MemberID, Name: self.Name, PeerURLs: self.PeerURLs}}
	next.Removed, next.Seed = removed, hex.EncodeToString(random)
	next.Started, next.Joined, next.Contacts, next.Forced = false, false, nil, true
	return &next, nil
}

func targets(ids []uint64) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = peer.Target(id)
	}
	return names
}
