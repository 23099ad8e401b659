package cluster

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/lni/dragonboat/v4"
	sm "github.com/lni/dragonboat/v4/statemachine"

	"github.com/witan-kv/witan/store"
)

// DirReport is what VerifyDir found in a member's data directory.
type DirReport struct {
	ClusterID, MemberID uint64
	Seed                string
	Members             int // in the table of members
	Groups              []GroupReport
}

// GroupReport is what VerifyDir found of one key group.
type GroupReport struct {
	store.Report
	LogFirst, LogLast, Committed uint64 // of the raft log
}

// VerifyDir checks the data directory of a stopped member: whose it is, the
// stores, and the raft logs behind them. The error joins all that is wrong.
// Nothing that counts is changed.
func VerifyDir(c Config) (r DirReport, err error) {
	if ok, err := HasData(c.DataDir); err != nil || !ok {
		return r, errors.Join(err, refuseUnfinished(c.DataDir), fmt.Errorf("cluster: %s holds no member's data", c.DataDir))
	}
	lock, err := lockDataDir(c.DataDir)
	if err != nil {
		return r, fmt.Errorf("%w; stop the member first", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := refuseUnfinished(c.DataDir); err != nil {
		return r, err
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, nextFile)); err == nil {
		return r, fmt.Errorf("cluster: --force-new-cluster was cut short in %s; start the member, which completes it", c.DataDir)
	}
	id, err := loadIdentity(c.DataDir)
	if err != nil {
		return r, err
	}
	r.ClusterID, r.MemberID, r.Seed = id.ClusterID, id.MemberID, id.Seed
	if err := r.verifyStores(&c, id); err != nil {
		return r, err
	}
	if !id.Started {
		r.Members = len(id.Members)
		return r, nil // no raft log yet
	}
	return r, r.verifyLog(&c, id)
}

func (r *DirReport) verifyStores(c *Config, id *identity) error {
	var faults []error
	for g := range id.Groups {
		found, err := store.Verify(storeOptions(c, id, g))
		r.Groups = append(r.Groups, GroupReport{Report: found})
		if err != nil {
			faults = append(faults, err)
		}
		if err == nil && found.Seed != id.Seed && found.RaftIndex > 0 {
			faults = append(faults, fmt.Errorf("cluster: group %d: the store began as %q, the cluster as %q", g, found.Seed, id.Seed))
		}
	}
	return errors.Join(faults...)
}

// verifyLog looks whether every group has the log that its store goes on with.
func (r *DirReport) verifyLog(c *Config, id *identity) (err error) {
	if _, err := os.Stat(filepath.Join(c.DataDir, raftDir)); err != nil {
		return fmt.Errorf("cluster: the raft log in %s is gone; %s", c.DataDir, rejoinAdvice)
	}
	a, err := openAside(c, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	t, err := a.openLog()
	if err != nil {
		return err
	}
	t.election = math.MaxInt32 // nobody is to be elected, not even itself
	if err := a.startMeta(t); err != nil {
		return err
	}
	var faults []error
	for i := range r.Groups {
		if err := a.lookAtLog(t, a.groups[i], &r.Groups[i]); err != nil {
			faults = append(faults, fmt.Errorf("cluster: group %d: %w", i, err))
		}
	}
	r.Members = len(a.meta.members())
	return errors.Join(faults...)
}

// lookAtLog reads the log of one group. Nothing of it is applied.
func (a *aside) lookAtLog(t timing, g *group, r *GroupReport) error {
	members, join, err := a.initialMembers(g.shard)
	if err != nil {
		return err
	}
	machine := func(uint64, uint64) sm.IOnDiskStateMachine { return bystander{r.RaftIndex} }
	cfg := shardConfig(&a.cfg, a.id, t, g.shard)
	cfg.SnapshotEntries = 0 // of a state machine that has no state
	if err := a.nh.StartOnDiskReplica(members, join, machine, cfg); err != nil {
		return err
	}
	log, err := a.nh.GetLogReader(g.shard)
	if err != nil {
		return err
	}
	state, _ := log.NodeState()
	r.LogFirst, r.LogLast = log.GetRange()
	r.Committed = state.Commit
	switch {
	case r.LogLast < r.RaftIndex:
		return fmt.Errorf("the raft log ends at %d, behind the store at %d: the directory was rolled back or damaged; %s", r.LogLast, r.RaftIndex, rejoinAdvice)
	case r.LogFirst > r.RaftIndex+1:
		return fmt.Errorf("the raft log begins at %d, after the store ends at %d: entries are missing; %s", r.LogFirst, r.RaftIndex, rejoinAdvice)
	}
	return readLog(log, r.LogFirst, r.LogLast)
}

// readLog reads all entries of a log.
func readLog(log dragonboat.ReadonlyLogReader, first, last uint64) error {
	for from := first; from <= last; {
		entries, err := log.Entries(from, min(from+logPage, last+1), math.MaxUint64)
		if err != nil {
			return fmt.Errorf("read the raft log from %d: %w", from, err)
		}
		if len(entries) == 0 || entries[0].Index != from {
			return fmt.Errorf("the raft log has no entry %d", from)
		}
		from += uint64(len(entries))
	}
	return nil
}

// bystander is a state machine that ignores what it is told. Dragonboat thinks
// that it has applied everything, unless there is nothing in the store yet.
type bystander struct{ applied uint64 }

func (b bystander) Open(<-chan struct{}) (uint64, error) {
	if b.applied == 0 {
		return 0, nil
	}
	return math.MaxUint64 / 2, nil
}

func (bystander) Update(entries []sm.Entry) ([]sm.Entry, error)            { return entries, nil }
func (bystander) Lookup(any) (any, error)                                  { return nil, nil }
func (bystander) Sync() error                                              { return nil }
func (bystander) PrepareSnapshot() (any, error)                            { return nil, nil }
func (bystander) SaveSnapshot(any, io.Writer, <-chan struct{}) error       { return errNoState }
func (bystander) RecoverFromSnapshot(_ io.Reader, _ <-chan struct{}) error { return errNoState }
func (bystander) Close() error                                             { return nil }

var errNoState = errors.New("cluster: this only looks")

// BackupReport is what VerifyBackup found in a backup.
type BackupReport struct {
	store.BackupInfo
	Nodes  uint64
	SHA256 string
}

// VerifyBackup reads a backup and checks everything that can be checked of it.
func VerifyBackup(r io.Reader) (BackupReport, error) {
	in, err := store.NewBackupReader(r)
	if err != nil {
		return BackupReport{}, err
	}
	defer in.Close()
	for {
		_, err := in.Next()
		if errors.Is(err, io.EOF) {
			return BackupReport{BackupInfo: in.Info(), Nodes: in.Nodes(), SHA256: in.SHA256()}, nil
		}
		if err != nil {
			return BackupReport{BackupInfo: in.Info(), Nodes: in.Nodes()}, err
		}
	}
}
