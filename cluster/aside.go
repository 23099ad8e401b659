package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"
	pb "github.com/lni/dragonboat/v4/raftpb"
	sm "github.com/lni/dragonboat/v4/statemachine"

	"github.com/witan-kv/witan/cluster/peer"
)

// aside is a member opened out of reach of all others: it hears nothing, sends
// nothing, and nobody is served. What it has of the logs can be looked at and
// applied.
type aside struct {
	*Node
	metaApplied atomic.Uint64
}

// openAside opens the stores of a member. Its data directory is locked.
func openAside(c *Config, id *identity) (*aside, error) {
	copied := *id // Started is not to be changed by this
	_, stop := context.WithCancel(context.Background())
	a := &aside{Node: &Node{
		cfg: *c, started: time.Now(), log: c.Logger.With().Str("component", "cluster").Logger(),
		id: &copied, meta: newMeta(&copied),
		failed: make(chan error, 1), expelled: make(chan struct{}), stopping: make(chan struct{}), stop: stop,
	}}
	a.transport = peer.New(peer.Config{
		Cluster: id.ClusterID, Self: id.MemberID, Addresses: func(uint64) []string { return nil }, Logger: a.log,
	})
	if err := a.openStores(context.Background()); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *aside) close() error { return errors.Join(a.Close(), a.transport.Close()) }

// start starts the replicas.
func (a *aside) start() error {
	t, err := a.openLog()
	if err != nil {
		return err
	}
	machine := func(uint64, uint64) sm.IStateMachine { return &countingMeta{a.meta, &a.metaApplied} }
	if err := a.startMetaWith(t, machine); err != nil {
		return err
	}
	for _, g := range a.groups {
		if err := a.startGroup(g, t); err != nil {
			return err
		}
	}
	return nil
}

// countingMeta is the meta group's state machine, and tells how far it is.
type countingMeta struct {
	*meta
	applied *atomic.Uint64
}

// Update implements sm.IStateMachine.
func (m *countingMeta) Update(e sm.Entry) (sm.Result, error) {
	r, err := m.meta.Update(e)
	m.applied.Store(e.Index)
	return r, err
}

const asidePause = 5 * time.Millisecond

// applyCommitted returns when all that is known to be committed is applied and
// durable.
func (a *aside) applyCommitted(ctx context.Context) error {
	if err := a.await(ctx, metaShard, a.metaApplied.Load); err != nil {
		return err
	}
	for _, g := range a.groups {
		applied := func() uint64 { _, raftIndex := g.st.Position(); return raftIndex }
		if err := a.await(ctx, g.shard, applied); err != nil {
			return err
		}
		if err := g.st.Flush(); err != nil {
			return fmt.Errorf("group %d: %w", g.id, err)
		}
	}
	return nil
}

// await returns when the last committed command of a group is applied.
func (a *aside) await(ctx context.Context, shard uint64, applied func() uint64) error {
	log, err := a.nh.GetLogReader(shard)
	if err != nil {
		return err
	}
	last, err := lastCommand(log)
	if err != nil {
		return fmt.Errorf("group %s: read the raft log: %w", groupNames([]uint64{shard})[0], err)
	}
	ticker := time.NewTicker(asidePause)
	defer ticker.Stop()
	for applied() < last {
		select {
		case <-ticker.C:
		case err := <-a.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// logPage is how many entries are read from a log at once.
const logPage = 1024

// lastCommand returns the index of the last entry that is known to be
// committed and holds a command, 0 if the log has none. Leaders also write
// empty entries, and membership changes, of which state machines do not hear.
func lastCommand(log dragonboat.ReadonlyLogReader) (uint64, error) {
	first, last := log.GetRange()
	state, _ := log.NodeState()
	for end := min(state.Commit, last); end >= first && end > 0; {
		begin := max(first, end-min(end, logPage)+1)
		entries, err := log.Entries(begin, end+1, math.MaxUint64)
		if err != nil {
			return 0, err
		}
		for i := len(entries) - 1; i >= 0; i-- {
			if e := &entries[i]; e.Type != pb.ConfigChangeEntry && len(e.Cmd) > 0 {
				return e.Index, nil
			}
		}
		end = begin - 1
	}
	return 0, nil
}
