package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/witan-kv/witan/store"
)

// DefaultIndexBump is by how much the indexes of a restored cluster begin
// above those of the backup. The old cluster has gone on after the backup was
// taken; an index a client has seen there must not come again with another
// meaning, and a watch must not wait for one that takes years to come.
const DefaultIndexBump = 1_000_000_000

// maxFirstIndex leaves room for all indexes to come in every arithmetic.
const maxFirstIndex = 1 << 62

// restoringFile stands in a data directory that a restore has not finished.
const restoringFile = "restore-unfinished"

// Restored says what Restore has made.
type Restored struct {
	Backup     store.BackupInfo
	Nodes      uint64
	ClusterID  uint64
	MemberID   uint64
	Groups     int
	FirstIndex uint64 // the first change gets a higher index
}

// Restore makes the data directory of one first member of a new cluster of
// the backup read from r. All members of c.InitialCluster are to be made of
// the same backup with the same settings. Name, DataDir, Token, InitialCluster,
// AdvertisePeerURLs, Groups (0: those of the backup) and Logger of c count.
func Restore(ctx context.Context, c Config, r io.Reader, bump uint64) (_ Restored, err error) {
	in, err := store.NewBackupReader(r)
	if err != nil {
		return Restored{}, err
	}
	defer in.Close()
	info := in.Info()
	if c.Groups == 0 {
		c.Groups = info.Groups
	}
	if info.Index > maxFirstIndex || bump > maxFirstIndex || info.Index+bump > maxFirstIndex {
		return Restored{}, fmt.Errorf("cluster: restore: an index of %d + %d is too high", info.Index, bump)
	}
	first := info.Index + max(bump, uint64(2*len(c.InitialCluster)+1))
	if err := c.validateRestore(); err != nil {
		return Restored{}, err
	}
	lock, err := claimEmpty(c.DataDir)
	if err != nil {
		return Restored{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, emptyDir(c.DataDir))
		}
		err = errors.Join(err, lock.Close())
	}()
	f := filler{groups: c.Groups}
	seed, err := f.fill(ctx, &c, in, first)
	if err != nil {
		return Restored{}, err
	}
	c.Token += "\n" + seed // so that neither the old cluster's members nor those of another restore are of this cluster
	id, err := newIdentity(&c)
	if err != nil {
		return Restored{}, err
	}
	id.FirstIndex, id.Seed = first, seed
	if err := id.save(c.DataDir); err != nil {
		return Restored{}, err
	}
	if err := removeSync(c.DataDir, restoringFile); err != nil {
		return Restored{}, fmt.Errorf("cluster: restore: %w", err)
	}
	return Restored{
		Backup: info, Nodes: in.Nodes(), ClusterID: id.ClusterID, MemberID: id.MemberID, Groups: id.Groups, FirstIndex: first,
	}, nil
}

// validateRestore checks what newIdentity would only find out at the end.
func (c *Config) validateRestore() error {
	if c.Groups < 1 || c.Groups > MaxGroups {
		return fmt.Errorf("cluster: restore: %d groups: must be 1 to %d", c.Groups, MaxGroups)
	}
	id, err := newIdentity(c)
	if err != nil {
		return err
	}
	if err := c.checkOwnURLs(id); err != nil {
		return fmt.Errorf("cluster: restore: %w", err)
	}
	return nil
}

// claimEmpty makes and locks a data directory that holds nothing, and marks it
// as unfinished, so that it cannot be taken for a member's before it is one.
func claimEmpty(dir string) (_ *os.File, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cluster: restore: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cluster: restore: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // of a file system that is mounted here
			return nil, fmt.Errorf("cluster: restore: the data directory %s is not empty (%s is there); name another one, or remove what is in it", dir, e.Name())
		}
	}
	lock, err := lockDataDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := writeFileSync(dir, restoringFile, []byte("witan restore has not finished here\n")); err != nil {
		return nil, fmt.Errorf("cluster: restore: %w", err)
	}
	return lock, syncDir(filepath.Dir(dir))
}

// refuseUnfinished refuses what a restore that was cut short has left.
func refuseUnfinished(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, restoringFile)); err == nil {
		return fmt.Errorf("cluster: witan restore has not finished in %s; remove the directory and restore again", dir)
	}
	return nil
}

// emptyDir removes what a failed restore has left, the mark last.
func emptyDir(dir string) error {
	groups, err := filepath.Glob(filepath.Join(dir, "group-*"))
	if err != nil {
		return err
	}
	for _, path := range append(groups, filepath.Join(dir, identityFile), filepath.Join(dir, "lock")) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cluster: restore: %w", err)
		}
	}
	return removeSync(dir, restoringFile)
}

func removeSync(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// filler spreads the nodes of a backup over the stores of the new groups.
type filler struct {
	groups  int
	seeders []*store.Seeder
}

// checkEvery is after how many nodes a restore looks whether it is to stop.
const checkEvery = 1024

// fill makes all stores and returns the seed they have.
func (f *filler) fill(ctx context.Context, c *Config, in *store.BackupReader, first uint64) (seed string, err error) {
	defer func() {
		for _, s := range f.seeders {
			err = errors.Join(err, s.Abort())
		}
	}()
	id := identity{Groups: f.groups, FirstIndex: first}
	for g := range f.groups {
		s, err := store.NewSeeder(storeOptions(c, &id, g))
		if err != nil {
			return "", fmt.Errorf("cluster: restore: group %d: %w", g, err)
		}
		f.seeders = append(f.seeders, s)
	}
	for {
		if in.Nodes()%checkEvery == 0 && ctx.Err() != nil {
			return "", fmt.Errorf("cluster: restore: %w", context.Cause(ctx))
		}
		n, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if err := f.seeders[groupOf(n.Key, f.groups)].Add(&n); err != nil {
			return "", fmt.Errorf("cluster: restore: %w", err)
		}
	}
	seed = seedOf(c, in.SHA256(), first)
	for len(f.seeders) > 0 {
		s := f.seeders[0]
		f.seeders = f.seeders[1:]
		if err := s.Finish(seed); err != nil {
			return "", fmt.Errorf("cluster: restore: %w", err)
		}
	}
	return seed, nil
}

// seedOf names what a cluster is restored from and how. Members that were not
// restored alike are of different clusters.
func seedOf(c *Config, backup string, first uint64) string {
	text := []string{backup, strconv.Itoa(c.Groups), strconv.FormatUint(first, 10), c.Token}
	var members []string
	for _, p := range c.InitialCluster {
		members = append(members, p.Name+"="+strings.Join(slices.Sorted(slices.Values(p.URLs)), ","))
	}
	slices.Sort(members)
	sum := sha256.Sum256([]byte(strings.Join(append(text, members...), "\n")))
	return hex.EncodeToString(sum[:16])
}
