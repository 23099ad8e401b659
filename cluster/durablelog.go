package cluster

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	"github.com/lni/dragonboat/v4/raftpb"
)

// durableLogFactory makes Dragonboat's own log store, which it keeps for itself,
// write what has to be on the disk and no more.
//
// applied returns up to which entry a replica's state is on this member's
// disk, 0 if that is not known.
type durableLogFactory struct {
	applied func(shard uint64) uint64
	halt    func(error) // what cannot be written ends the member
	room    func()      // called before anything is written
}

var _ config.LogDBFactory = durableLogFactory{}

// Name implements config.LogDBFactory: it is Dragonboat's name of that store,
// and written into the data directory.
func (durableLogFactory) Name() string { return "sharded-pebble" }

// Create implements config.LogDBFactory.
func (f durableLogFactory) Create(c config.NodeHostConfig, call config.LogDBCallback, dirs, walDirs []string) (_ raftio.ILogDB, err error) {
	defer func() {
		// Dragonboat would close what Pebble holds the locks of.
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	db, err := newLogDB(c, call, dirs, walDirs)
	if err != nil {
		return nil, err
	}
	// Dragonboat asks for this only what it knows to be its own.
	if checker, ok := db.(interface{ SelfCheckFailed() (bool, error) }); ok {
		if failed, err := checker.SelfCheckFailed(); err != nil || failed {
			return nil, errors.Join(err, errors.New("the raft log is of another format"), db.Close())
		}
	}
	return &durableLog{
		ILogDB:   db,
		applied:  f.applied,
		halt:     f.halt,
		room:     f.room,
		most:     deferMost,
		written:  map[raftio.NodeInfo]raftpb.State{},
		deferred: map[raftio.NodeInfo]raftpb.State{},
	}, nil
}

// durableLog does not wait for the disk when nothing of a replica has changed but
// its commit index. Raft does not need that one to be durable (Raft §5.2 lists
// what does): after a restart it is learned again. Dragonboat writes and
// syncs it all the same, once more per entry on every member.
//
// It goes to the disk with the next entries, before a snapshot, at the end, and
// deferMost after it changed at the latest, for --force-new-cluster, which
// keeps what a member alone knows to be committed. And a member never knows
// less to be committed than it has applied.
//
// Three members, one writer: 2.9 syncs for a write instead of 5.9.
type durableLog struct {
	raftio.ILogDB
	applied func(shard uint64) uint64
	halt    func(error)
	room    func()
	most    time.Duration // deferMost

	mu       sync.Mutex // held over writes: the log store bears one writer
	written  map[raftio.NodeInfo]raftpb.State
	deferred map[raftio.NodeInfo]raftpb.State // newer than written
	timer    *time.Timer                      // set while something is deferred
	closed   bool
}

const deferMost = 250 * time.Millisecond

// logWorker is the number of Dragonboat's one goroutine that writes to the log.
const logWorker = execShards

// SaveRaftState implements raftio.ILogDB.
func (l *durableLog) SaveRaftState(updates []raftpb.Update, worker uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := updates[:0:0]
	for i := range updates {
		u := &updates[i]
		switch {
		case !l.mayWait(u):
			due = append(due, *u)
		case !raftpb.IsEmptyState(u.State):
			l.deferLocked(node(u), u.State)
		}
	}
	return l.saveLocked(due, worker)
}

// mayWait reports whether nothing has changed that must be on the disk.
func (l *durableLog) mayWait(u *raftpb.Update) bool {
	if len(u.EntriesToSave) > 0 || !raftpb.IsEmptySnapshot(u.Snapshot) {
		return false
	}
	last := l.written[node(u)]
	return raftpb.IsEmptyState(u.State) || u.State.Term == last.Term && u.State.Vote == last.Vote
}

func node(u *raftpb.Update) raftio.NodeInfo { return raftio.GetNodeInfo(u.ShardID, u.ReplicaID) }

func (l *durableLog) deferLocked(n raftio.NodeInfo, s raftpb.State) {
	l.deferred[n] = s
	if l.timer == nil {
		l.timer = time.AfterFunc(l.most, l.writeDeferred)
	}
}

// saveLocked writes updates and, with those, what was deferred of their replicas.
func (l *durableLog) saveLocked(updates []raftpb.Update, worker uint64) error {
	if len(updates) == 0 {
		return nil
	}
	for i := range updates {
		n := node(&updates[i])
		if s, ok := l.deferred[n]; ok && raftpb.IsEmptyState(updates[i].State) {
			updates[i].State = s
		}
	}
	if err := l.do(func() error { return l.ILogDB.SaveRaftState(updates, worker) }); err != nil {
		return err
	}
	for i := range updates {
		if s := updates[i].State; !raftpb.IsEmptyState(s) {
			l.written[node(&updates[i])] = s
			delete(l.deferred, node(&updates[i]))
		}
	}
	return nil
}

// writeDeferred writes all that was deferred.
func (l *durableLog) writeDeferred() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.closed {
		return
	}
	_ = l.writeDeferredLocked(slices.Collect(maps.Keys(l.deferred))...)
}

func (l *durableLog) writeDeferredLocked(replicas ...raftio.NodeInfo) error {
	var updates []raftpb.Update
	for _, n := range replicas {
		if s, ok := l.deferred[n]; ok {
			updates = append(updates, raftpb.Update{ShardID: n.ShardID, ReplicaID: n.ReplicaID, State: s})
		}
	}
	return l.saveLocked(updates, logWorker)
}

// SaveSnapshots implements raftio.ILogDB. At a restart Dragonboat insists that
// what a snapshot holds was committed.
func (l *durableLog) SaveSnapshots(updates []raftpb.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range updates {
		if err := l.writeDeferredLocked(node(&updates[i])); err != nil {
			return err
		}
	}
	return l.do(func() error { return l.ILogDB.SaveSnapshots(updates) })
}

// do writes to the log. That it failed ends the member: Pebble, too, has no
// way back, and panics with some of its locks held.
func (l *durableLog) do(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		if err != nil {
			l.halt(diskError("write the raft log", err))
		}
	}()
	l.room()
	return write()
}

// SaveBootstrapInfo implements raftio.ILogDB.
func (l *durableLog) SaveBootstrapInfo(shard, replica uint64, b raftpb.Bootstrap) error {
	return l.do(func() error { return l.ILogDB.SaveBootstrapInfo(shard, replica, b) })
}

// RemoveEntriesTo implements raftio.ILogDB.
func (l *durableLog) RemoveEntriesTo(shard, replica, index uint64) error {
	return l.do(func() error { return l.ILogDB.RemoveEntriesTo(shard, replica, index) })
}

// ReadRaftState implements raftio.ILogDB.
func (l *durableLog) ReadRaftState(shard, replica, lastIndex uint64) (raftio.RaftState, error) {
	s, err := l.ILogDB.ReadRaftState(shard, replica, lastIndex)
	if err != nil || raftpb.IsEmptyState(s.State) {
		return s, err
	}
	// A log that ends before what was applied is another matter: see startGroup.
	if applied := l.applied(shard); applied > s.State.Commit && applied < s.FirstIndex+s.EntryCount {
		s.State.Commit = applied
	}
	return s, nil
}

// RemoveNodeData implements raftio.ILogDB.
func (l *durableLog) RemoveNodeData(shard, replica uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := raftio.GetNodeInfo(shard, replica)
	delete(l.written, n)
	delete(l.deferred, n)
	return l.do(func() error { return l.ILogDB.RemoveNodeData(shard, replica) })
}

// Close implements raftio.ILogDB.
func (l *durableLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	err := l.writeDeferredLocked(slices.Collect(maps.Keys(l.deferred))...)
	if closeErr := l.ILogDB.Close(); err == nil {
		err = closeErr
	}
	return err
}
