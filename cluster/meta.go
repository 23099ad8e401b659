package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	sm "github.com/lni/dragonboat/v4/statemachine"
)

// metaState is the state of the meta group: who the members are, and which of
// them hold a replica of which key group. It is small, so it lives in memory
// and Dragonboat's snapshots keep it.
type metaState struct {
	Members map[uint64]Member `json:"members"`
	// Replicas lists the members that hold a replica, group by group. It is
	// never assumed to be "all members" (design §3).
	Replicas [][]uint64 `json:"replicas"`
}

// metaCommand is one entry of the meta group's log.
type metaCommand struct {
	Op         string   `json:"op"` // metaPublish
	ID         uint64   `json:"id,string"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// metaPublish is a member saying at its start what it is called and where
// clients reach it.
const metaPublish = "publish"

// What a metaCommand answers in sm.Result.Value.
const (
	metaDone     = 1
	metaNoMember = 2
)

// meta is this member's replica of the meta group: a state machine of
// Dragonboat's and, for everybody else, the table it makes.
type meta struct {
	mu    sync.RWMutex
	state metaState
}

var _ sm.IStateMachine = (*meta)(nil)

// newMeta returns the table every member of a fresh cluster starts from, which
// is a function of its identity, so that all members start from the same.
func newMeta(id *identity) *meta {
	m := &meta{state: metaState{Members: make(map[uint64]Member)}}
	var ids []uint64
	for _, im := range id.Members {
		ids = append(ids, im.ID)
		m.state.Members[im.ID] = Member{ID: im.ID, PeerURLs: im.PeerURLs}
	}
	for range id.Groups {
		m.state.Replicas = append(m.state.Replicas, ids)
	}
	return m
}

// members lists the members by ascending id.
func (m *meta) members() []Member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]Member, 0, len(m.state.Members))
	for _, id := range slices.Sorted(maps.Keys(m.state.Members)) {
		out = append(out, m.state.Members[id])
	}
	return out
}

func (m *meta) member(id uint64) (Member, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	mb, ok := m.state.Members[id]
	return mb, ok
}

// replicas lists the members that hold a replica of a key group.
func (m *meta) replicas(group int) []uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.Replicas[group]
}

// Update implements sm.IStateMachine. Slices of a Member are replaced, never
// changed, so that readers may keep them.
func (m *meta) Update(e sm.Entry) (sm.Result, error) {
	var cmd metaCommand
	if err := json.Unmarshal(e.Cmd, &cmd); err != nil {
		return sm.Result{}, fmt.Errorf("cluster: meta entry %d: %w", e.Index, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch cmd.Op {
	case metaPublish:
		mb, ok := m.state.Members[cmd.ID]
		if !ok {
			return sm.Result{Value: metaNoMember}, nil
		}
		mb.Name, mb.ClientURLs = cmd.Name, cmd.ClientURLs
		m.state.Members[cmd.ID] = mb
		return sm.Result{Value: metaDone}, nil
	default:
		return sm.Result{}, fmt.Errorf("cluster: meta entry %d has the unknown operation %q: this version is older than the one that wrote it", e.Index, cmd.Op)
	}
}

// Lookup implements sm.IStateMachine. Readers use the table's own methods.
func (m *meta) Lookup(any) (any, error) { return nil, nil }

// SaveSnapshot implements sm.IStateMachine.
func (m *meta) SaveSnapshot(w io.Writer, _ sm.ISnapshotFileCollection, _ <-chan struct{}) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := json.NewEncoder(w).Encode(&m.state); err != nil {
		return fmt.Errorf("cluster: meta snapshot: %w", err)
	}
	return nil
}

// RecoverFromSnapshot implements sm.IStateMachine.
func (m *meta) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, _ <-chan struct{}) error {
	var s metaState
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return fmt.Errorf("cluster: meta snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	return nil
}

// Close implements sm.IStateMachine.
func (m *meta) Close() error { return nil }
