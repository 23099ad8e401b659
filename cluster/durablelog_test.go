package cluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lni/dragonboat/v4/raftio"
	"github.com/lni/dragonboat/v4/raftpb"
)

// savedLog is a log store that remembers what it was told to write.
type savedLog struct {
	raftio.ILogDB
	saved [][]raftpb.Update
	snaps int // how many writes came before the last snapshot
	state raftio.RaftState
}

func (l *savedLog) SaveRaftState(updates []raftpb.Update, _ uint64) error {
	l.saved = append(l.saved, append([]raftpb.Update(nil), updates...))
	return nil
}

func (l *savedLog) SaveSnapshots([]raftpb.Update) error { l.snaps = len(l.saved); return nil }
func (l *savedLog) Close() error                        { return nil }

func (l *savedLog) ReadRaftState(uint64, uint64, uint64) (raftio.RaftState, error) {
	return l.state, nil
}

func newDurableLog(applied uint64) (*durableLog, *savedLog) {
	under := &savedLog{}
	return &durableLog{
		ILogDB:   under,
		applied:  func(uint64) uint64 { return applied },
		halt:     func(err error) { panic(err) },
		room:     func() {},
		most:     time.Hour,
		written:  map[raftio.NodeInfo]raftpb.State{},
		deferred: map[raftio.NodeInfo]raftpb.State{},
	}, under
}

func update(term, vote, commit uint64, entries ...uint64) raftpb.Update {
	u := raftpb.Update{ShardID: 2, ReplicaID: 1, State: raftpb.State{Term: term, Vote: vote, Commit: commit}}
	for _, index := range entries {
		u.EntriesToSave = append(u.EntriesToSave, raftpb.Entry{Term: term, Index: index})
	}
	return u
}

// What must be on the disk is written at once, with the commit index that was put off.
func TestDurableLogPutsCommitsOff(t *testing.T) {
	for _, tc := range []struct {
		name    string
		updates []raftpb.Update
		want    []raftpb.Update // one for each write
	}{
		{
			"a commit waits for the next entries",
			[]raftpb.Update{update(1, 1, 0, 1), update(1, 1, 1), update(1, 1, 1, 2)},
			[]raftpb.Update{update(1, 1, 0, 1), update(1, 1, 1, 2)},
		},
		{
			"entries without a state of their own take the one that waits along",
			[]raftpb.Update{update(1, 1, 0, 1), update(1, 1, 1), update(0, 0, 0, 2)},
			[]raftpb.Update{update(1, 1, 0, 1), {
				ShardID: 2, ReplicaID: 1, State: raftpb.State{Term: 1, Vote: 1, Commit: 1},
				EntriesToSave: []raftpb.Entry{{Index: 2}},
			}},
		},
		{
			"a term and a vote do not wait",
			[]raftpb.Update{update(1, 1, 0, 1), update(2, 0, 0), update(2, 3, 0), update(2, 3, 1)},
			[]raftpb.Update{update(1, 1, 0, 1), update(2, 0, 0), update(2, 3, 0)},
		},
		{
			"nothing is written for nothing",
			[]raftpb.Update{update(0, 0, 0)},
			nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, under := newDurableLog(0)
			for _, u := range tc.updates {
				if err := l.SaveRaftState([]raftpb.Update{u}, logWorker); err != nil {
					t.Fatal(err)
				}
			}
			var got []raftpb.Update
			for _, updates := range under.saved {
				got = append(got, updates...)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(raftpb.Snapshot{})); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

// A commit that was put off is on the disk before a snapshot, after a while,
// and at the end.
func TestDurableLogWritesCommitsInTheEnd(t *testing.T) {
	begin := func(t *testing.T) (*durableLog, *savedLog) {
		l, under := newDurableLog(0)
		for _, u := range []raftpb.Update{update(1, 1, 0, 1), update(1, 1, 1)} {
			if err := l.SaveRaftState([]raftpb.Update{u}, logWorker); err != nil {
				t.Fatal(err)
			}
		}
		return l, under
	}
	check := func(t *testing.T, under *savedLog) {
		t.Helper()
		last := under.saved[len(under.saved)-1]
		if diff := cmp.Diff([]raftpb.Update{update(1, 1, 1)}, last, cmpopts.IgnoreUnexported(raftpb.Snapshot{})); diff != "" {
			t.Errorf("written last (-want +got):\n%s", diff)
		}
	}
	t.Run("snapshot", func(t *testing.T) {
		l, under := begin(t)
		if err := l.SaveSnapshots([]raftpb.Update{update(0, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		if under.snaps != 2 {
			t.Errorf("%d writes before the snapshot, want 2", under.snaps)
		}
		check(t, under)
	})
	t.Run("time", func(t *testing.T) {
		l, under := begin(t)
		if l.timer == nil || !l.timer.Stop() {
			t.Fatal("no timer is set")
		}
		l.writeDeferred()
		check(t, under)
	})
	t.Run("close", func(t *testing.T) {
		l, under := begin(t)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, under)
	})
}

// What was applied was committed, whatever the log says; but a log that ends
// before it is left as it is.
func TestDurableLogReadsCommits(t *testing.T) {
	for _, tc := range []struct{ commit, applied, want uint64 }{
		{10, 0, 10}, {10, 10, 10}, {10, 14, 14}, {10, 15, 10},
	} {
		l, under := newDurableLog(tc.applied)
		under.state = raftio.RaftState{State: raftpb.State{Term: 1, Commit: tc.commit}, FirstIndex: 5, EntryCount: 10}
		s, err := l.ReadRaftState(2, 1, 0)
		if err != nil || s.State.Commit != tc.want {
			t.Errorf("commit %d, applied %d, log to 14: read commit %d, %v, want %d", tc.commit, tc.applied, s.State.Commit, err, tc.want)
		}
	}
}
