package cluster

import (
	"github.com/witan-kv/witan/cluster/peer"
)

// Members lists the members by ascending id.
func (n *Node) Members() []Member { return n.meta.members() }

// Leader returns the member that leads the first key group, which is the whole
// key space unless there are several.
func (n *Node) Leader() (Member, bool) {
	leader, _, _ := n.groups[0].lead.now()
	return n.meta.member(leader)
}

// peerURLs is where the transport finds a member. A member that has just
// joined may not have it in its table yet.
func (n *Node) peerURLs(member uint64) []string {
	if n.meta.removed(member) {
		return nil
	}
	if m, ok := n.meta.member(member); ok {
		return n.contacts.complete(member, m.PeerURLs)
	}
	for _, c := range n.id.Contacts {
		if c.ID == member {
			return n.contacts.complete(member, c.PeerURLs)
		}
	}
	return n.contacts.complete(member, nil)
}

func (n *Node) peerMembers() []peer.Member {
	var out []peer.Member
	for _, m := range n.meta.members() {
		out = append(out, peer.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return out
}

// Status reports on this member and its replicas.
func (n *Node) Status() Status {
	leader, term, _ := n.groups[0].lead.now()
	s := Status{
		ClusterID: n.id.ClusterID, ID: n.id.MemberID, Name: n.cfg.Name,
		Leader: leader, LeaderSince: n.groups[0].lead.since(), Term: term, StartTime: n.started,
	}
	voters := n.allVoters()
	leader, term, _ = n.metaGroup.lead.now()
	s.Meta = MetaStatus{Leader: leader, Term: term, Voters: voters[metaShard]}
	for _, g := range n.groups {
		leader, term, _ := g.lead.now()
		raftIndex, index, hash := g.st.Digest()
		s.Groups = append(s.Groups, GroupStatus{
			Group: g.id, Leader: leader, Term: term, RaftIndex: raftIndex, Index: index, Hash: hash,
			Voters: voters[g.shard], Keys: g.st.Stats(),
		})
		s.Watchers += g.hub.Watchers()
		s.ClosedIndex = index
	}
	if n.order != nil {
		s.Watchers += n.order.hub.Watchers()
		s.ClosedIndex = n.order.merge.Closed()
	}
	return s
}
