package httpapi_test

import (
	"context"
	"slices"

	"github.com/witan-kv/witan/cluster"
)

// addedID is the id of the members that a test adds.
const addedID = 0x0282b16e923af92f // with a leading zero, which is not shown

func founders() []cluster.Member {
	return []cluster.Member{
		{ID: 0x2dec428604ddde4d, PeerURLs: []string{"http://127.0.0.1:2390"}},
		{
			ID: testMemberID, Name: "default", PeerURLs: []string{"http://127.0.0.1:2380"},
			ClientURLs: []string{"http://127.0.0.1:2379", "http://127.0.0.1:4001"},
		},
	}
}

func (m *member) Members() []cluster.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.members)
}

func (m *member) AddMember(_ context.Context, peerURLs []string) (cluster.Member, error) {
	if err := m.failing(); err != nil {
		return cluster.Member{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	added := cluster.Member{ID: addedID, PeerURLs: peerURLs}
	m.members = slices.Insert(m.members, 0, added)
	return added, nil
}

func (m *member) RemoveMember(_ context.Context, id uint64) error {
	return m.change(id, func(i int) { m.members = slices.Delete(m.members, i, i+1) })
}

func (m *member) UpdateMember(_ context.Context, id uint64, peerURLs []string) error {
	return m.change(id, func(i int) { m.members[i].PeerURLs = peerURLs })
}

func (m *member) change(id uint64, do func(i int)) error {
	if err := m.failing(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.members, func(o cluster.Member) bool { return o.ID == id })
	if i < 0 {
		return cluster.ErrNoMember
	}
	do(i)
	return nil
}
