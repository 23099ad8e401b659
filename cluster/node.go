package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"
	sm "github.com/lni/dragonboat/v4/statemachine"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/cluster/peer"
	"github.com/witan-kv/witan/watch"
)

// Node is one member of a cluster. Its methods may be called concurrently.
type Node struct {
	cfg     Config
	log     zerolog.Logger
	started time.Time
	id      *identity
	lock    *os.File // holds the data directory

	meta      *meta
	metaGroup raftGroup
	groups    []*group
	order     *order // of events over several groups; nil with one
	turn      atomic.Uint64

	contacts  contacts
	transport *peer.Transport
	server    *peer.Server
	nh        *dragonboat.NodeHost
	raftLog   *witnessedLog
	raft      atomic.Pointer[dragonboat.NodeHost] // nh, for those who do not wait until it is set
	boot      uint64                              // a random number of this process

	failed    chan error
	published atomic.Bool   // the cluster has taken the member in with its data
	expelled  chan struct{} // closed when the member learns that it was removed
	expelling sync.Once
	// stopping ends what waits inside; it is closed before anything else closes.
	stopping chan struct{}
	ending   sync.Once
	halts    bool                  // on an error of the disk
	halted   atomic.Pointer[error] // why nothing is written any more
	panics   *func(string)         // see takePanics
	stop     context.CancelFunc    // of the background work
	wg       sync.WaitGroup
	caught   atomic.Bool
	readOnly atomic.Bool // the disk is nearly full
	space    *space
	closing  sync.Once
	closeErr error
}

// Open starts a member: for the first time, as Join says, or again from its
// data directory, when neither Join nor the initial cluster is looked at. It returns once the member has caught up with a quorum and
// has published its name and client URLs, or when ctx ends.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	for {
		n, err := open(ctx, cfg)
		again, discardErr := mistakenFounder(&cfg, err)
		if !again || discardErr != nil {
			return n, errors.Join(err, discardErr)
		}
		cfg.mistaken = true
	}
}

func open(ctx context.Context, cfg Config) (_ *Node, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	n := &Node{
		cfg: cfg, started: time.Now(),
		log:      cfg.Logger.With().Str("component", "cluster").Logger(),
		boot:     rand.Uint64(),
		failed:   make(chan error, 1),
		expelled: make(chan struct{}),
		stopping: make(chan struct{}),
		stop:     func() {},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.claimDataDir(ctx); err != nil {
		return nil, err
	}
	if err := n.openPeerPort(); err != nil {
		return nil, err
	}
	if err := n.openStores(ctx); err != nil {
		return nil, err
	}
	n.halts = true
	if err := n.unlessHalted(n.startRaft); err != nil {
		return nil, err
	}
	n.startBackground()
	if err := n.unlessHalted(func() error { return n.catchUp(ctx) }); err != nil {
		return nil, err
	}
	n.caught.Store(true)
	return n, nil
}

// claimDataDir makes sure the data directory is this member's and nobody
// else's, and finds out or decides who this member is.
func (n *Node) claimDataDir(ctx context.Context) error {
	dir := n.cfg.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cluster: make the data directory: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("cluster: make the data directory: %w", err)
	}
	var err error
	if n.lock, err = lockDataDir(dir); err != nil {
		return err
	}
	if err := refuseUnfinished(dir); err != nil {
		return err
	}
	if err := n.completeAlone(); err != nil {
		return err
	}
	if n.id, err = loadIdentity(dir); err != nil {
		return err
	}
	if n.id != nil || n.cfg.ForceNewCluster {
		if err := n.goOnAlone(ctx); err != nil {
			return err
		}
	}
	if n.id == nil {
		if err := n.enter(ctx); err != nil {
			return err
		}
	}
	n.id.Boots++
	if err := n.id.save(dir); err != nil {
		return err
	}
	if n.cfg.Groups != n.id.Groups {
		n.log.Warn().Int("asked", n.cfg.Groups).Int("groups", n.id.Groups).Msg("the number of groups is fixed when a cluster is made")
	}
	n.published.Store(n.id.Published)
	n.meta = newMeta(n.id)
	n.log.Info().Str("cluster", peer.Target(n.id.ClusterID)).Str("member", peer.Target(n.id.MemberID)).
		Str("name", n.cfg.Name).Int("groups", n.id.Groups).Bool("restart", n.id.Started).Msg("starting member")
	return nil
}

// lockDataDir makes sure that no other process uses a data directory until the
// file is closed.
func lockDataDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cluster: open the data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cluster: the data directory %s is in use by another process", dir)
	}
	return lock, nil
}

// openPeerPort serves the peer port. Raft connections are refused until raft runs.
func (n *Node) openPeerPort() error {
	n.transport = peer.New(peer.Config{
		Cluster: n.id.ClusterID, Self: n.id.MemberID,
		URLs: n.cfg.AdvertisePeerURLs, Addresses: n.peerURLs, Met: n.contacts.meet,
		Origin: peer.Origin{Instance: n.id.Instance, Boots: n.id.Boots},
		Admit:  n.admit, Refused: n.refused, LogEnd: n.logEnd, Behind: n.behind,
		Logger: n.cfg.Logger.With().Str("component", "peer").Logger(),
	})
	n.server = peer.NewServer(n.transport, peer.Info{
		Cluster: peer.Target(n.id.ClusterID),
		Members: n.peerMembers,
		Version: func() any { return VersionsOf(n.cfg.Version) },
		Join:    n.takeInWhenCaught,
		Store:   n.sendStore,
	}, n.log)
	for _, u := range n.cfg.ListenPeerURLs {
		addr, err := hostPort(u)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("cluster: listen for peers on %s: %w", u, err)
		}
		n.wg.Go(func() {
			if err := n.server.Serve(l); err != nil {
				n.fail(fmt.Errorf("cluster: serve peers on %s: %w", u, err))
			}
		})
	}
	return nil
}

func (n *Node) openStores(ctx context.Context) error {
	n.space = newSpace(n.cfg.DataDir, n.id.Groups, n.log, n.readOnly.Store)
	if err := n.space.check(); err != nil {
		return err
	}
	timeout := n.cfg.requestTimeout()
	n.metaGroup = raftGroup{shard: metaShard, timeout: timeout, lead: newLeadership(), stopped: n.stopping}
	var frontiers []uint64
	for i := range n.id.Groups {
		o := storeOptions(&n.cfg, n.id, i)
		o.Room = n.space.makeRoom
		st, err := n.openStore(ctx, i, o)
		if err != nil {
			return fmt.Errorf("cluster: group %d: %w", i, err)
		}
		g := &group{
			raftGroup: raftGroup{shard: keyShard(i), timeout: timeout, lead: newLeadership(), stopped: n.stopping},
			id:        i, self: n.id.MemberID, boot: n.id.Boots, seed: n.id.Seed,
			halt:  n.halt,
			log:   n.log.With().Int("group", i).Logger(),
			st:    st,
			hub:   watch.NewHub(st, st.Frontier(), tailBytes),
			slots: make(chan struct{}, maxOutstanding),
			next:  1, oldest: 1,
			pending: make(map[uint64]*proposal),
		}
		n.groups = append(n.groups, g)
		frontiers = append(frontiers, st.Frontier())
	}
	if len(n.groups) > 1 {
		n.order = newOrder(n, frontiers)
	}
	for _, g := range n.groups {
		g.order = n.order
	}
	return nil
}

// appliedOnDisk returns up to which log entry the state of a shard's replica is on the disk.
func (n *Node) appliedOnDisk(shard uint64) uint64 {
	for _, g := range n.groups {
		if g.shard == shard {
			return g.st.Applied()
		}
	}
	return 0 // the meta group has its state in memory
}

func groupDir(dataDir string, group int) string {
	return filepath.Join(dataDir, "group-"+strconv.Itoa(group))
}

// tailBytes bounds the events a group keeps in memory for its watchers.
const tailBytes = 8 << 20

// openLog opens the raft log.
func (n *Node) openLog() (timing, error) {
	useRaftLogger(n.cfg.Logger)
	if err := adoptHostName(filepath.Join(n.cfg.DataDir, raftDir)); err != nil {
		return timing{}, err
	}
	listener := leaderListener{metaShard: n.metaGroup.lead}
	for _, g := range n.groups {
		listener[g.shard] = g.lead
	}
	t := newTiming(&n.cfg)
	var err error
	log := durableLogFactory{applied: n.appliedOnDisk, halt: n.halt, room: n.space.makeRoom}
	witnessed := &witnessedLogFactory{LogDBFactory: log, dir: filepath.Join(n.cfg.DataDir, raftDir)}
	if n.nh, err = newNodeHost(nodeHostConfig(&n.cfg, n.id, t, n.transport, witnessed, listener)); err != nil {
		return timing{}, n.logNotOpened(err)
	}
	n.raft.Store(n.nh)
	if n.halts {
		n.takePanics()
	}
	n.raftLog = witnessed.made
	return t, n.checkLogs(n.raftLog)
}

// startRaft starts a replica of every group.
func (n *Node) startRaft() error {
	t, err := n.openLog()
	if err != nil {
		return err
	}
	if err := n.startMeta(t); err != nil {
		return err
	}
	for _, g := range n.groups {
		if err := n.startGroup(g, t); err != nil {
			return err
		}
	}
	if !n.id.Started {
		n.id.Started = true
		return n.id.save(n.cfg.DataDir)
	}
	return nil
}

func (n *Node) startMeta(t timing) error {
	return n.startMetaWith(t, func(uint64, uint64) sm.IStateMachine { return n.meta })
}

func (n *Node) startMetaWith(t timing, machine sm.CreateStateMachineFunc) error {
	members, join, err := n.initialMembers(metaShard)
	if err != nil {
		return err
	}
	if err := n.nh.StartReplica(members, join, machine, shardConfig(&n.cfg, n.id, t, metaShard)); err != nil {
		return fmt.Errorf("cluster: start the meta group: %w", err)
	}
	n.metaGroup.attach(n.nh)
	return nil
}

func (n *Node) startGroup(g *group, t timing) error {
	members, join, err := n.initialMembers(g.shard)
	if err != nil {
		return err
	}
	if (members != nil || join) && g.st.Applied() > 0 {
		return fmt.Errorf("cluster: group %d: the raft log in %s is gone but the store is not; %s", g.id, n.cfg.DataDir, rejoinAdvice)
	}
	if err := n.checkStore(g, n.raftLog); err != nil {
		return err
	}
	machine := func(uint64, uint64) sm.IOnDiskStateMachine { return &keyMachine{g: g} }
	if err := n.nh.StartOnDiskReplica(members, join, machine, shardConfig(&n.cfg, n.id, t, g.shard)); err != nil {
		return fmt.Errorf("cluster: start group %d: %w", g.id, err)
	}
	// Dragonboat says nothing when the log ends before the store does, and
	// then swallows new entries up to there (engine §0.4).
	logReader, err := n.nh.GetLogReader(g.shard)
	if err != nil {
		return fmt.Errorf("cluster: group %d: %w", g.id, err)
	}
	if _, last := logReader.GetRange(); last < g.st.Applied() && !n.rebuiltAt(g) {
		return fmt.Errorf("cluster: group %d: the raft log in %s ends at %d, behind the store at %d: the directory was rolled back or damaged; %s",
			g.id, n.cfg.DataDir, last, g.st.Applied(), rejoinAdvice)
	}
	g.attach(n.nh)
	return nil
}

// initialMembers returns how a replica is started: with the founders, by
// joining, or neither if it was started before.
func (n *Node) initialMembers(shard uint64) (members map[uint64]dragonboat.Target, join bool, err error) {
	switch {
	case n.nh.HasNodeInfo(shard, n.id.MemberID):
		return nil, false, nil
	case n.id.Started:
		return nil, false, fmt.Errorf("cluster: the raft log in %s is gone; %s", n.cfg.DataDir, rejoinAdvice)
	case n.id.Joined:
		return nil, true, nil
	}
	members = make(map[uint64]dragonboat.Target)
	for _, m := range n.id.Members {
		members[m.ID] = peer.Target(m.ID)
	}
	return members, false, nil
}

// attach makes a started replica ready for proposals and reads.
func (g *raftGroup) attach(nh *dragonboat.NodeHost) {
	g.nh, g.session = nh, nh.GetNoOPSession(g.shard)
	if leader, term, ok, err := nh.GetLeaderID(g.shard); err == nil && ok {
		g.lead.set(leader, term)
	}
}

// startBackground starts what runs as long as the node does.
func (n *Node) startBackground() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	for _, g := range n.groups {
		n.wg.Go(func() { g.runClock(ctx, n.cfg.Now) })
		n.wg.Go(func() {
			select {
			case <-g.st.Failed():
				n.halt(diskError(fmt.Sprintf("group %d", g.id), g.st.Err()))
			case <-ctx.Done():
			}
		})
	}
	for _, g := range n.raftGroups() {
		n.wg.Go(func() { n.runReconcile(ctx, g) })
		n.wg.Go(func() { n.standAlone(ctx, g) })
	}
	n.wg.Go(func() { n.runPeers(ctx) })
	n.wg.Go(func() { n.runBalance(ctx) })
	n.wg.Go(func() {
		if err := n.space.run(ctx); err != nil {
			n.fail(err)
		}
	})
	if n.order != nil {
		n.wg.Go(func() { n.order.run(ctx) })
	}
}

// fail reports what the member cannot go on after.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Failed delivers the first error the member cannot go on after. The program
// is to log it, close the node and exit.
func (n *Node) Failed() <-chan error { return n.failed }

// ClusterID returns the id of the cluster.
func (n *Node) ClusterID() uint64 { return n.id.ClusterID }

// frontier returns the highest index this member has come to in any group.
// Whatever a client knows through this member is at or below it.
func (n *Node) frontier() uint64 {
	var highest uint64
	for _, g := range n.groups {
		highest = max(highest, g.st.Frontier())
	}
	return highest
}
