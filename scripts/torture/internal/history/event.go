package history

import (
	"fmt"
	"time"
)

// Event is one change as a watcher was told of it.
type Event struct {
	Action    string
	Key       string
	Value     string
	Index     uint64 // modifiedIndex of the node
	PrevIndex uint64 // modifiedIndex of prevNode, 0 if there was none
	PrevValue string
	At        time.Duration // arrival, on the run's monotonic clock
}

// Removes says whether the event leaves no node behind.
func (e *Event) Removes() bool {
	return e.Action == "delete" || e.Action == "compareAndDelete" || e.Action == "expire"
}

// Same says whether two watchers were told the same; when they were told does not matter.
func (e *Event) Same(o *Event) bool {
	a, b := *e, *o
	a.At, b.At = 0, 0
	return a == b
}

// String is one line for people.
func (e *Event) String() string {
	return fmt.Sprintf("%d %s %s=%q prev %d %q", e.Index, e.Action, e.Key, e.Value, e.PrevIndex, e.PrevValue)
}

// Node is one key as a listing shows it.
type Node struct {
	Key   string
	Value string
	Index uint64 // modifiedIndex
}

// Listing is the files of a tree at one index.
type Listing struct {
	From  string        // who was asked
	At    time.Duration // when, on the run's monotonic clock
	Index uint64        // X-Etcd-Index
	Nodes map[string]Node
}
