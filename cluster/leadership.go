package cluster

import (
	"sync"
	"time"

	"github.com/lni/dragonboat/v4/raftio"
)

// leadership is what this member knows of one group's leader.
type leadership struct {
	mu      sync.Mutex
	leader  uint64 // member id, 0 if unknown
	term    uint64
	from    time.Time     // when leader and term became known
	changed chan struct{} // closed at the next change
}

func newLeadership() *leadership {
	return &leadership{changed: make(chan struct{})}
}

// now returns the leader, its term, and a channel that is closed when either changes.
func (l *leadership) now() (leader, term uint64, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader, l.term, l.changed
}

// since returns when the present leader became known.
func (l *leadership) since() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from
}

func (l *leadership) set(leader, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == leader && l.term == term {
		return
	}
	l.leader, l.term, l.from = leader, term, time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

// leaderListener passes Dragonboat's news of leaders on. Dragonboat calls it
// from one goroutine that must not be held up.
type leaderListener map[uint64]*leadership // by shard

var _ raftio.IRaftEventListener = leaderListener(nil)

// LeaderUpdated implements raftio.IRaftEventListener.
func (ll leaderListener) LeaderUpdated(info raftio.LeaderInfo) {
	if l, ok := ll[info.ShardID]; ok {
		l.set(info.LeaderID, info.Term)
	}
}
