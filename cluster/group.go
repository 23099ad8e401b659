package cluster

import (
	"sync"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// Shard numbers are Dragonboat's names for groups. They are part of the data
// on disk.
const (
	metaShard     = 1
	firstKeyShard = 2
)

func keyShard(group int) uint64 { return firstKeyShard + uint64(group) }

// raftGroup is this member's handle on one replica: how to propose and read.
type raftGroup struct {
	shard   uint64
	timeout time.Duration // of a whole request
	lead    *leadership
	nh      *dragonboat.NodeHost // set when the replica has started
	session *client.Session
	stopped <-chan struct{}
}

// group is this member's replica of one key group.
type group struct {
	raftGroup
	id    int
	self  uint64      // this member
	boot  uint64      // how often this member was started; orders its processes (store.Command.Boot)
	seed  string      // of the state that the log continues (identity.Seed)
	halt  func(error) // see Node.halt
	log   zerolog.Logger
	st    *store.Store
	hub   *watch.Hub
	order *order // hears after the hub; nil with one group

	// slots bounds the proposals outstanding: Dragonboat refuses more than
	// 2,048 between two steps (engine §2.3).
	slots chan struct{}

	mu      sync.Mutex
	next    uint64               // number of the next proposal
	oldest  uint64               // Invariant: no proposal below it is pending
	pending map[uint64]*proposal // by number

	inFlight int           // batches on their way
	round    time.Duration // that the last one took
	queue    []*batch      // that wait for their turn
	open     *batch        // the newest one, while it takes in commands
	scratch  []byte
}

const maxOutstanding = 1024

func (g *group) leading() (term uint64, ok bool) {
	leader, term, _ := g.lead.now()
	return term, leader == g.self
}

// publish hands what a batch of entries changed to the watchers.
// The apply goroutine calls it, and nobody else.
func (g *group) publish(frontier uint64, events []*store.Event) {
	g.hub.Publish(frontier, events...)
	if g.order != nil {
		g.order.publish(g.id, frontier, events)
	}
}

// skip tells the watchers that the replica jumped to frontier and that the
// events between are in its history, if anywhere.
func (g *group) skip(frontier uint64) {
	g.hub.Skip(frontier)
	if g.order != nil {
		g.order.skip(g.id, frontier)
	}
}
