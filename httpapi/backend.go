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

	// OpenBackup takes hold of the whole tree as it is now, to be written. The
	// caller closes it.
	OpenBackup(ctx context.Context) (*store.Backup, error)

	Membership

	// Status reports on this member.
	Status() cluster.Status
	// Healthy returns nil if a quorum answered a read just now.
	Healthy(ctx context.Context) error
	// Caught reports whether the member has caught up with its cluster since it started.
	Caught() bool
}

// Membership is who the members are and how that is changed. The errors of
// changes are cluster's, too.
type Membership interface {
	// Members lists the members by ascending id, as they are to be: a member
	// is listed as soon as its addition is decided, and until its removal is.
	Members() []cluster.Member
	// Leader returns the member that leads the cluster, if one is known.
	Leader() (cluster.Member, bool)

	// AddMember adds a member that has not started yet.
	AddMember(ctx context.Context, peerURLs []string) (cluster.Member, error)
	// RemoveMember removes a member for good.
	RemoveMember(ctx context.Context, id uint64) error
	// UpdateMember changes the peer URLs of a member.
	UpdateMember(ctx context.Context, id uint64, peerURLs []string) error
}
