package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/store"
)

// Limits of a Config.
const (
	MaxGroups          = 64
	maxElectionTimeout = 50 * time.Second
)

// Peer is a member as --initial-cluster names it.
type Peer struct {
	Name string
	URLs []string // peer URLs
}

// JoinMode says what a member does that starts without data.
type JoinMode string

// The join modes.
const (
	JoinNew      JoinMode = "new"      // found the cluster of InitialCluster with the others
	JoinExisting JoinMode = "existing" // join InitialCluster's running members, which must know this one (contract §5.3)
	JoinAuto     JoinMode = "auto"     // join if the others know a cluster, else found one with them
)

// Config is everything a Node needs to know to start. Open copies it.
type Config struct {
	Name    string // this member's; one of InitialCluster's
	DataDir string // made with mode 0700 if missing
	Token   string // --initial-cluster-token, part of the ids

	// InitialCluster and Join are looked at once, when the data directory is empty.
	InitialCluster []Peer
	Join           JoinMode // "" is JoinNew
	// ReplaceLostSelf lets a member with JoinAuto that finds itself known to
	// the cluster but without its data take its own place under a new id.
	ReplaceLostSelf bool

	mistaken bool // it founded a cluster once and was told that there is one

	// StrictReconfig refuses membership changes after which the started
	// members would not be a quorum.
	StrictReconfig bool

	// ForceNewCluster makes the member go on alone with the data it has, when
	// the others are lost for good (contract §5.7).
	ForceNewCluster bool

	ListenPeerURLs      []string
	AdvertisePeerURLs   []string
	AdvertiseClientURLs []string

	Groups       int // key groups; fixed when the cluster is made (design §3)
	EventHistory int // events kept per group for watchers that ask for the past

	// CacheBytes is about how much of the newest versions of nodes is kept in
	// memory, of all groups together; 0 means the default.
	CacheBytes int64

	SnapshotCount   uint64        // log entries between snapshots
	Heartbeat       time.Duration // between a leader's heartbeats
	ElectionTimeout time.Duration // without a leader until a member stands for election, on average

	// Now is what group clocks are measured with (design §5); nil means time.Now.
	Now func() time.Time

	Logger  zerolog.Logger
	Version string // served on the peer port
}

// DefaultConfig returns etcd's defaults and ours for what etcd does not have.
func DefaultConfig() Config {
	return Config{
		Name:            "default",
		DataDir:         "default.etcd",
		Token:           "etcd-cluster",
		Groups:          1,
		EventHistory:    100_000,
		CacheBytes:      store.DefaultCacheBytes,
		SnapshotCount:   10_000,
		Heartbeat:       100 * time.Millisecond,
		ElectionTimeout: time.Second,
		Join:            JoinNew,
		StrictReconfig:  true,
		Logger:          zerolog.Nop(),
		Version:         "2.3.8",
	}
}

// validate reports every fault at once.
func (c *Config) validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf("cluster: "+format, args...))
		}
	}
	fault(c.Name == "", "the member needs a name")
	fault(c.DataDir == "", "the member needs a data directory")
	fault(len(c.ListenPeerURLs) == 0, "no peer URL to listen on")
	fault(c.Groups < 1 || c.Groups > MaxGroups, "%d groups: must be 1 to %d", c.Groups, MaxGroups)
	fault(c.EventHistory < 1, "an event history of %d: must be at least 1", c.EventHistory)
	fault(c.CacheBytes < 0, "a cache of %d bytes: must be at least 0", c.CacheBytes)
	fault(c.SnapshotCount < 1, "a snapshot count of %d: must be at least 1", c.SnapshotCount)
	fault(!slices.Contains([]JoinMode{"", JoinNew, JoinExisting, JoinAuto}, c.Join), "a join mode of %q: must be new, existing or auto", c.Join)
	fault(c.Heartbeat <= 0, "a heartbeat interval of %v: must be positive", c.Heartbeat)
	fault(c.ElectionTimeout < 5*c.Heartbeat, "an election timeout of %v: must be at least five heartbeat intervals (%v)",
		c.ElectionTimeout, 5*c.Heartbeat)
	fault(c.ElectionTimeout > maxElectionTimeout, "an election timeout of %v: must be at most %v", c.ElectionTimeout, maxElectionTimeout)
	return errors.Join(faults...)
}

// requestTimeout is how long a request may take: 5 s and two elections, as
// etcd's (contract §1.13).
func (c *Config) requestTimeout() time.Duration {
	return 5*time.Second + 2*c.ElectionTimeout
}
