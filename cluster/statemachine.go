package cluster

import (
	"errors"
	"fmt"
	"io"

	sm "github.com/lni/dragonboat/v4/statemachine"

	"github.com/witan-kv/witan/store"
)

// keyMachine is a key group's replica as Dragonboat drives it. It translates:
// the store decides, the hub tells the watchers, whoever proposed is answered.
//
// An error from any method would make Dragonboat panic (engine §2.1), so those of
// the disk halt the member, and clients' mistakes are never errors here but results.
type keyMachine struct {
	g *group

	// Room for Update, which Dragonboat never calls twice at a time.
	commands []store.Command
	results  []store.Result
}

var _ sm.IOnDiskStateMachine = (*keyMachine)(nil)

// Open implements sm.IOnDiskStateMachine. The store is open already: we close
// it after Dragonboat, which may skip Close (engine §0.12).
func (m *keyMachine) Open(<-chan struct{}) (uint64, error) {
	return m.g.st.Applied(), nil
}

// Update implements sm.IOnDiskStateMachine. Watchers hear of a change before
// its author does: who was answered may count on them.
func (m *keyMachine) Update(entries []sm.Entry) ([]sm.Entry, error) {
	err := m.update(entries)
	if err != nil {
		err = diskError(fmt.Sprintf("group %d", m.g.id), err)
		m.g.halt(err)
	}
	return entries, err
}

func (m *keyMachine) update(entries []sm.Entry) error {
	if err := m.g.checkSeed(); err != nil {
		return err
	}
	var events []*store.Event
	m.commands, m.results = m.commands[:0], m.results[:0]
	for i := range entries {
		e := &entries[i]
		first := len(m.commands)
		var err error
		if m.commands, err = readEntry(e.Cmd, m.commands); err != nil {
			return fmt.Errorf("raft entry %d: %w", e.Index, err)
		}
		if m.results, err = m.g.st.ApplyEntry(e.Index, m.commands[first:], m.results); err != nil {
			return err
		}
		for j := range m.results[first:] {
			res := &m.results[first+j]
			if res.Event != nil && !res.Repeat {
				events = append(events, res.Event)
			}
			events = append(events, res.Expired...)
		}
		e.Result = sm.Result{Value: 1}
	}
	m.g.publish(m.g.st.Frontier(), events)
	m.g.finish(m.commands, m.results, entries[len(entries)-1].Index)
	// Nothing of them is kept from being collected until the next entries come.
	clear(m.commands)
	clear(m.results)
	return nil
}

// Lookup implements sm.IOnDiskStateMachine. Reads go to the store directly,
// after a ReadIndex if they are to be linearizable.
func (m *keyMachine) Lookup(any) (any, error) { return nil, nil }

// Sync implements sm.IOnDiskStateMachine: Dragonboat may throw away the log up
// to what is applied once it returns.
func (m *keyMachine) Sync() error {
	err := m.g.st.Flush()
	if err != nil && !errors.Is(err, store.ErrClosed) {
		m.g.halt(diskError(fmt.Sprintf("group %d", m.g.id), err))
	}
	return err
}

// PrepareSnapshot implements sm.IOnDiskStateMachine.
func (m *keyMachine) PrepareSnapshot() (any, error) { return m.g.st.Snapshot() }

// SaveSnapshot implements sm.IOnDiskStateMachine.
func (m *keyMachine) SaveSnapshot(prepared any, w io.Writer, stop <-chan struct{}) error {
	snap := prepared.(*store.Snapshot)
	defer snap.Close()
	if err := snap.WriteTo(w, stop); err != nil {
		return snapshotError(err)
	}
	return nil
}

// RecoverFromSnapshot implements sm.IOnDiskStateMachine. Watchers get what the
// snapshot skipped from the history that came with it, or are ended.
func (m *keyMachine) RecoverFromSnapshot(r io.Reader, stop <-chan struct{}) error {
	if err := m.g.st.Restore(r, stop); err != nil {
		return snapshotError(err)
	}
	m.g.skip(m.g.st.Frontier())
	return nil
}

// Close implements sm.IOnDiskStateMachine.
func (m *keyMachine) Close() error { return nil }

func snapshotError(err error) error {
	if errors.Is(err, store.ErrStopped) {
		return sm.ErrSnapshotStopped
	}
	return fmt.Errorf("cluster: snapshot: %w", err)
}
