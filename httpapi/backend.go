package httpapi

import (
	"context"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// Backend is what the API needs of a member; *cluster.Node is one. All methods
// may be called from many goroutines at once.
//
// Errors are *store.Error for a client's mistake or one of cluster's sentinels.
type Backend interface {
	// Do makes a change and answers once it is applied on this member. seen is
	// the index the client says it has seen, 0 if it says nothing.
	Do(ctx context.Context, cmd store.Command, seen uint64) (cluster.Answer, error)
	// Get reads one node or a tree.
	Get(ctx context.Context, r cluster.Read) (cluster.Answer, error)
	// Watch registers a watcher; the Answer has no Event, only positions. The
	// caller closes the watcher.
	Watch(ctx context.Context, req watch.Request) (*watch.Watcher, cluster.Answer, error)

	// Members lists the members by ascending id.
	Members() []cluster.Member
	// Leader returns the member that leads the cluster, if one is known.
	Leader() (cluster.Member, bool)
	// Status reports on this member.
	Status() cluster.Status
	// Healthy returns nil if a quorum answered a read just now.
	Healthy(ctx context.Context) error
	// Caught reports whether the member has caught up with its cluster since it started.
	Caught() bool
}
