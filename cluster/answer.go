package cluster

import (
	"errors"
	"time"

	"github.com/witan-kv/witan/store"
)

// Read asks for a node.
type Read struct {
	Key       store.Key
	Recursive bool
	Quorum    bool   // linearizable, by ReadIndex; otherwise what this member has
	Seen      uint64 // the client's X-Etcd-Index: the answer is not older (design §3)
}

// Answer is what a read or a write gave, with the position it stands at.
type Answer struct {
	Event     *store.Event // nil when only positions are known
	Index     uint64       // X-Etcd-Index
	RaftIndex uint64       // X-Raft-Index: the log position applied on this member
	Term      uint64       // X-Raft-Term
}

// Member is one server of the cluster, as /v2/members shows it.
type Member struct {
	ID         uint64   `json:"id,string"`
	Name       string   `json:"name,omitempty"`       // empty until the member has started
	PeerURLs   []string `json:"peerURLs"`             // sorted
	ClientURLs []string `json:"clientURLs,omitempty"` // sorted; empty until the member has started
}

// GroupStatus is one replica's view of its key group.
type GroupStatus struct {
	Group     int
	Leader    uint64 // member id, 0 if unknown
	Term      uint64
	RaftIndex uint64   // applied here
	Index     uint64   // frontier here
	Hash      uint64   // running hash of everything applied up to RaftIndex
	Voters    []uint64 // the members that make the group's quorums, ascending, as far as applied here
	Keys      store.Stats
}

// MetaStatus is one replica's view of the meta group, which knows who the members are.
type MetaStatus struct {
	Leader uint64 // member id, 0 if unknown
	Term   uint64
	Voters []uint64 // as in GroupStatus
}

// Status is what this member knows of itself and its cluster.
type Status struct {
	ClusterID   uint64
	ID          uint64
	Name        string
	Leader      uint64 // leader of the meta group, 0 if unknown
	LeaderSince time.Time
	Term        uint64
	StartTime   time.Time
	ClosedIndex uint64
	Watchers    int
	Meta        MetaStatus
	Groups      []GroupStatus
}

// Errors of Do, Get and Watch beside *store.Error. Compare with errors.Is.
var (
	// ErrTimeout says no answer came in time. A write may still happen.
	ErrTimeout = errors.New("etcdserver: request timed out")
	// ErrTimeoutLeader is ErrTimeout where the leader was lost meanwhile.
	ErrTimeoutLeader = errors.New("etcdserver: request timed out, possibly due to previous leader failure")
	// ErrStopped says the member is going down.
	ErrStopped = errors.New("etcdserver: server stopped")
	// ErrIndexTooHigh refuses an X-Etcd-Index no server can have sent.
	ErrIndexTooHigh = errors.New("cluster: the index in the X-Etcd-Index header is more than a million above anything seen here")
	// ErrReadOnly refuses writes because the disk is nearly full.
	ErrReadOnly = errors.New("etcdserver: the member is read-only: its disk is nearly full; free some space")
)
