package peer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
	"github.com/rs/zerolog"
)

// Config says who this member is and where the others are.
type Config struct {
	Cluster uint64
	Self    uint64
	// Addresses returns the peer URLs of a member, nil for one that is not in
	// the cluster. It is asked at every connect, so a member may move.
	Addresses func(member uint64) []string
	// URLs are this member's own peer URLs, told to all it connects to, and Met hears of those of the members
	// that connect, whether or not Addresses knows them. It may be nil.
	URLs   []string
	Met    func(member uint64, urls []string)
	Origin Origin // what this member runs from
	// Admit returns nil if raft messages may be exchanged with a member that
	// runs from o, or an error that may be ErrExpelled or ErrForeignData. nil admits all.
	Admit func(member uint64, o Origin) error
	// Refused hears that another member has refused this one with ErrExpelled,
	// ErrForeignData or ErrOtherCluster, again at each try. It may be nil.
	Refused func(by uint64, err error)
	// LogEnd returns the index at which this member's log of a group ends. A
	// leader that counts on later entries ends the member by way of Behind.
	// Both may be nil.
	LogEnd func(shard uint64) (last uint64, ok bool)
	Behind func(shard, last, expected uint64)
	Logger zerolog.Logger
}

// Target returns the raft target that stands for a member: its id, which
// never changes, so that moving a member does not touch raft membership.
func Target(member uint64) string { return strconv.FormatUint(member, 16) }

func parseTarget(target string) (uint64, error) {
	return strconv.ParseUint(target, 16, 64)
}

// Transport is the transport of one member. It is the TransportFactory that
// Dragonboat is configured with and the transport that factory makes.
// All methods may be called concurrently.
type Transport struct {
	cfg Config

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup // connections being served

	mu       sync.Mutex
	messages raftio.MessageHandler // nil until Create
	chunks   raftio.ChunkHandler
	heard    map[uint64]contact
	open     map[*inbound]struct{}
	closed   bool
}

// contact is what is known of the raft traffic from one member.
type contact struct {
	since time.Time // start of the unbroken contact
	last  time.Time
}

// silence is how long a member may say nothing before it counts as out of
// contact. Leaders send heartbeats several times a second, but two followers
// have nothing to tell each other: see Alive.
const silence = 5 * time.Second

var (
	_ config.TransportFactory = (*Transport)(nil)
	_ raftio.ITransport       = (*Transport)(nil)
)

// New returns a transport that refuses raft connections until Dragonboat has
// created it.
func New(cfg Config) *Transport {
	ctx, stop := context.WithCancel(context.Background())
	return &Transport{
		cfg: cfg, ctx: ctx, stop: stop,
		heard: make(map[uint64]contact),
		open:  make(map[*inbound]struct{}),
	}
}

// Create implements config.TransportFactory.
func (t *Transport) Create(_ config.NodeHostConfig, m raftio.MessageHandler, c raftio.ChunkHandler) raftio.ITransport {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages, t.chunks = m, c
	return t
}

// Validate implements config.TransportFactory: targets are member ids.
func (t *Transport) Validate(target string) bool {
	id, err := parseTarget(target)
	return err == nil && id != 0
}

// Name implements raftio.ITransport.
func (t *Transport) Name() string { return "witan-peer" }

// Start implements raftio.ITransport. The listener is not the transport's.
func (t *Transport) Start() error { return nil }

// Close ends every raft connection and waits until none is served any more.
func (t *Transport) Close() error {
	t.stop()
	t.mu.Lock()
	t.closed = true
	for in := range t.open {
		in.conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// GetConnection implements raftio.ITransport. The connection is made when the
// first message is sent: an error here would make Dragonboat stay away from
// the target for up to a minute, long after it has come back.
func (t *Transport) GetConnection(_ context.Context, target string) (raftio.IConnection, error) {
	id, err := parseTarget(target)
	if err != nil {
		return nil, fmt.Errorf("peer: target %q: %w", target, err)
	}
	return &messageConn{t: t, to: id}, nil
}

// GetSnapshotConnection implements raftio.ITransport.
func (t *Transport) GetSnapshotConnection(ctx context.Context, target string) (raftio.ISnapshotConnection, error) {
	id, err := parseTarget(target)
	if err != nil {
		return nil, fmt.Errorf("peer: target %q: %w", target, err)
	}
	conn, err := t.dial(ctx, id, false) // unread pulses would make its end an RST, which overtakes chunks
	if err != nil {
		return nil, err
	}
	return &snapshotConn{conn: conn.Conn}, nil
}

// Alive reports whether raft traffic from the member arrived lately, and since
// when without a break. Only members that exchange raft messages with this one
// are heard of: the leader of a group hears all its replicas.
func (t *Transport) Alive(member uint64) (since time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.heard[member]
	return c.since, ok && time.Since(c.last) < silence
}

func (t *Transport) hear(member uint64) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.heard[member]
	if now.Sub(c.last) >= silence {
		c.since = now
	}
	c.last = now
	t.heard[member] = c
}

var errNoAddress = errors.New("peer: the member has no known address")

// Stand makes this member's replica of a group stand for election now, as if
// its leader had asked it to (Raft §3.10).
func (t *Transport) Stand(shard uint64) {
	t.mu.Lock()
	messages := t.messages
	t.mu.Unlock()
	if messages != nil {
		messages(pb.MessageBatch{
			DeploymentId: t.cfg.Cluster, SourceAddress: Target(t.cfg.Self), BinVer: raftio.TransportBinVersion,
			Requests: []pb.Message{{Type: pb.TimeoutNow, ShardID: shard, To: t.cfg.Self, From: t.cfg.Self}},
		})
	}
}
