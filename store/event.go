package store

import "sync/atomic"

// Action says what an event did; its String is the "action" of the wire format.
type Action uint8

// The actions of etcd v2. ActionGet only appears in answers to reads.
const (
	ActionGet Action = iota + 1
	ActionCreate
	ActionSet
	ActionUpdate
	ActionCompareAndSwap
	ActionDelete
	ActionCompareAndDelete
	ActionExpire
)

var actionNames = [...]string{
	ActionGet:              "get",
	ActionCreate:           "create",
	ActionSet:              "set",
	ActionUpdate:           "update",
	ActionCompareAndSwap:   "compareAndSwap",
	ActionDelete:           "delete",
	ActionCompareAndDelete: "compareAndDelete",
	ActionExpire:           "expire",
}

func (a Action) String() string { return actionNames[a] }

// Removes reports whether the action takes its node out of the tree.
func (a Action) Removes() bool {
	return a == ActionDelete || a == ActionCompareAndDelete || a == ActionExpire
}

// Node is a file or a directory as a client sees it. Nodes are shared between
// goroutines once they are handed out and are not changed afterwards.
type Node struct {
	Key           Key
	Value         string // files only
	Dir           bool
	CreatedIndex  uint64
	ModifiedIndex uint64
	HasTTL        bool
	Expiration    int64   // wall clock of the accepting member, Unix nanoseconds; with HasTTL
	TTL           int64   // seconds left on the group clock, rounded up, never negative; with HasTTL
	Nodes         []*Node // children shown by a listing, in order of their keys
}

// Event is one change of the tree, or the answer to a read (ActionGet).
// It is immutable; all replicas make the same one for the same log entry.
type Event struct {
	Action  Action
	Node    *Node
	Prev    *Node  // the node before the change, nil if there was none
	Index   uint64 // for a change, its own index
	Refresh bool   // a TTL refresh: kept in the history, shown to no watcher (contract §1.14)

	// removed reports whether the node at a key strictly below Node was taken
	// out of the tree by this event. It is nil unless a directory was removed.
	removed func(Key) bool

	encoded atomic.Pointer[[]byte]
}

// Removed reports whether the event took away the existing node at k by
// removing a directory above it. Watchers of k are told of that (contract §2.2).
func (e *Event) Removed(k Key) bool {
	return e.removed != nil && k != e.Node.Key && e.Node.Key.Contains(k) && e.removed(k)
}

// Encoded returns the event's wire form, made by encode at the first call and
// shared from then on by the answer, the watchers and the history (design §2).
// Concurrent first calls may both encode; the bytes are equal.
func (e *Event) Encoded(encode func(*Event) []byte) []byte {
	if p := e.encoded.Load(); p != nil {
		return *p
	}
	b := encode(e)
	e.encoded.Store(&b)
	return b
}
