package cluster

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	sm "github.com/lni/dragonboat/v4/statemachine"
)

// meta is this member's replica of the meta group: a state machine of
// Dragonboat's and, for everybody else, the table it makes. The table is
// small, so it lives in memory and Dragonboat's snapshots keep it.
type meta struct {
	mu      sync.RWMutex
	table   table
	changed chan struct{} // closed when the table changes
}

var _ sm.IStateMachine = (*meta)(nil)

// newMeta returns the table every member of a fresh cluster starts from, which
// is a function of its identity, so that all members start from the same.
func newMeta(id *identity) *meta {
	t := table{Members: make(map[uint64]record), Removed: slices.Clone(id.Removed)}
	var ids []uint64
	for _, im := range id.Members {
		ids = append(ids, im.ID)
		t.Members[im.ID] = record{Member: Member{ID: im.ID, PeerURLs: im.PeerURLs}}
	}
	for range id.Groups {
		t.Replicas = append(t.Replicas, slices.Clone(ids))
	}
	return &meta{table: t, changed: make(chan struct{})}
}

// members lists the members by ascending id, as they should be: one that is
// being removed is not among them.
func (m *meta) members() []Member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.members()
}

// record returns what is known of a member, also of one that is being removed.
func (m *meta) record(id uint64) (record, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.table.Members[id]
	return r, ok
}

func (m *meta) member(id uint64) (Member, bool) {
	r, ok := m.record(id)
	return r.Member, ok
}

// removed reports whether the id was a member's that will never come back.
func (m *meta) removed(id uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Contains(m.table.Removed, id)
}

// replicas lists the members that are to hold a replica of a key group.
func (m *meta) replicas(group int) []uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.Replicas[group]
}

// change returns the membership change that is not through yet, and a channel
// that is closed when anything in the table changes.
func (m *meta) change() (c change, pending bool, changed <-chan struct{}) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.table.Change != nil {
		c, pending = *m.table.Change, true
	}
	return c, pending, m.changed
}

// Update implements sm.IStateMachine.
func (m *meta) Update(e sm.Entry) (sm.Result, error) {
	var cmd metaCommand
	if err := json.Unmarshal(e.Cmd, &cmd); err != nil {
		return sm.Result{}, fmt.Errorf("cluster: meta entry %d: %w", e.Index, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, err := m.table.apply(&cmd, e.Index)
	if err != nil {
		return sm.Result{}, fmt.Errorf("cluster: meta entry %d: %w", e.Index, err)
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return o.encode(), nil
}

// Lookup implements sm.IStateMachine. Readers use the table's own methods.
func (m *meta) Lookup(any) (any, error) { return nil, nil }

// SaveSnapshot implements sm.IStateMachine.
func (m *meta) SaveSnapshot(w io.Writer, _ sm.ISnapshotFileCollection, _ <-chan struct{}) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := json.NewEncoder(w).Encode(&m.table); err != nil {
		return fmt.Errorf("cluster: meta snapshot: %w", err)
	}
	return nil
}

// RecoverFromSnapshot implements sm.IStateMachine.
func (m *meta) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, _ <-chan struct{}) error {
	var t table
	if err := json.NewDecoder(r).Decode(&t); err != nil {
		return fmt.Errorf("cluster: meta snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = t
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

// Close implements sm.IStateMachine.
func (m *meta) Close() error { return nil }

// outcome is what became of a metaCommand.
type outcome struct {
	verdict verdict
	change  uint64 // the change to wait for, 0 if there is none
	reason  string
}

func (o outcome) encode() sm.Result {
	data := binary.LittleEndian.AppendUint64(nil, o.change)
	return sm.Result{Value: uint64(o.verdict), Data: append(data, o.reason...)}
}

func decodeOutcome(r sm.Result) (outcome, error) {
	if len(r.Data) < 8 {
		return outcome{}, fmt.Errorf("cluster: a result of %d bytes from the meta group", len(r.Data))
	}
	return outcome{
		verdict: verdict(r.Value),
		change:  binary.LittleEndian.Uint64(r.Data),
		reason:  string(r.Data[8:]),
	}, nil
}
