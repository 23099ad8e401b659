package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/cluster"
)

// config is everything that can be set. The flag tags are the names users know
// the fields by; the validate tags the rules for single fields (validate.go has
// those across fields). Times are in milliseconds, as in etcd.
type config struct {
	Name          string `flag:"name" validate:"required,excludesall=0x2C="`
	DataDir       string `flag:"data-dir"` // "" = NAME.etcd
	SnapshotCount uint64 `flag:"snapshot-count" validate:"min=1"`
	Heartbeat     uint   `flag:"heartbeat-interval" validate:"min=1"`
	Election      uint   `flag:"election-timeout" validate:"min=1,max=50000"`

	ListenPeer      stringList `flag:"listen-peer-urls"`
	ListenClient    stringList `flag:"listen-client-urls"`
	AdvertisePeer   stringList `flag:"initial-advertise-peer-urls"`
	AdvertiseClient stringList `flag:"advertise-client-urls"`

	InitialCluster  stringList `flag:"initial-cluster"` // nil = this member alone
	ClusterState    string     `flag:"initial-cluster-state" validate:"oneof=new existing auto"`
	Token           string     `flag:"initial-cluster-token" validate:"required"`
	StrictReconfig  bool       `flag:"strict-reconfig-check"`
	ForceNewCluster bool       `flag:"force-new-cluster"`
	ReplaceLostSelf bool       `flag:"replace-lost-self"`

	Discovery         string `flag:"discovery"`
	DiscoveryProxy    string `flag:"discovery-proxy"`
	DiscoveryFallback string `flag:"discovery-fallback" validate:"oneof=proxy exit"`
	DiscoverySRV      string `flag:"discovery-srv"`
	DiscoverySRVName  string `flag:"discovery-srv-name"`

	Proxy             string `flag:"proxy" validate:"oneof=off on readonly"`
	ProxyFailureWait  uint   `flag:"proxy-failure-wait"`
	ProxyRefresh      uint   `flag:"proxy-refresh-interval" validate:"min=1"`
	ProxyDialTimeout  uint   `flag:"proxy-dial-timeout"`
	ProxyWriteTimeout uint   `flag:"proxy-write-timeout"`
	ProxyReadTimeout  uint   `flag:"proxy-read-timeout"` // 0 = none, which watches need

	BackupDir      string        `flag:"backup-dir"`      // "" = no scheduled backups
	BackupInterval time.Duration `flag:"backup-interval"` // 0 = no scheduled backups
	BackupKeep     int           `flag:"backup-keep" validate:"min=1"`

	Groups        int `flag:"groups" validate:"min=1,max=64"`
	EventHistory  int `flag:"event-history" validate:"min=1"`
	MaxValueBytes int `flag:"max-value-bytes" validate:"min=1,max=10485760"`

	CORS     stringList `flag:"cors"`
	LogLevel string     `flag:"log-level" validate:"oneof=debug info warn error dpanic panic fatal"`
	Debug    bool       `flag:"debug"`

	ConfigFile  string `flag:"config-file"`
	PrintConfig bool   `flag:"print-config"`
	Version     bool   `flag:"version"`
	Help        bool   `flag:"help"`

	// Flags for what does not exist here; refusals says no to them.
	Peers, PeersFile string

	peers    []cluster.Peer    // InitialCluster, parsed by validate, or what discover found
	given    map[string]string // the flags that were set, and where
	resolver *net.Resolver     // for --discovery-srv, nil = the system's
}

// defaultConfig returns etcd's defaults: those of 3.4, which listens on one
// port for clients and one for peers where 2.3 had two each. Two are those of
// 2.3: snapshots are cheap here and taken as often, since what lies between two
// of them is what a restart has to read again; and no origin may call from a
// browser unless --cors says so, since a store without users should not be
// open to every page that somebody near it looks at.
func defaultConfig() config {
	return config{
		Name:            "default",
		SnapshotCount:   10_000,
		Heartbeat:       100,
		Election:        1000,
		ListenPeer:      stringList{"http://localhost:2380"},
		ListenClient:    stringList{"http://localhost:2379"},
		AdvertisePeer:   stringList{"http://localhost:2380"},
		AdvertiseClient: stringList{"http://localhost:2379"},
		ClusterState:    "new",
		Token:           "etcd-cluster",
		Groups:          1,
		EventHistory:    100_000,
		MaxValueBytes:   1 << 20,
		LogLevel:        "info",
		StrictReconfig:  true,

		DiscoveryFallback: "proxy",
		Proxy:             "off",
		ProxyFailureWait:  5000,
		ProxyRefresh:      30_000,
		ProxyDialTimeout:  1000,
		ProxyWriteTimeout: 5000,

		BackupInterval: 24 * time.Hour,
		BackupKeep:     7,
	}
}

// usageError is a command line that cannot be understood: the usage line is
// shown and the status is 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// parseConfig reads the settings: a flag wins over a WITAN_* variable, that
// over an ETCD_* variable, that over the configuration file, that over the
// default. (With etcd a file makes all else ignored, which people kept falling
// over.) The notes are for the log: what was given but does nothing, or not
// what it seems to. Only the form is checked here, see validate.
func parseConfig(args, env []string) (c config, notes []string, err error) {
	c = defaultConfig()
	t := newFlagTable(&c)
	rest, err := t.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.Help = true
		return c, nil, nil
	case err != nil:
		return c, nil, err
	case len(rest) > 0:
		return c, nil, fmt.Errorf("%q is not a flag; settings are written --name=value or --name value (--help lists them)", rest[0])
	case c.Help || c.Version:
		return c, nil, nil
	}
	notes, err = t.applyEnvironment(env)
	if c.ConfigFile != "" {
		err = errors.Join(err, t.applyFile(c.ConfigFile))
	}
	if err != nil {
		return c, nil, err
	}
	c.given = t.given
	c.derive()
	return c, slices.Concat(t.notes(), notes, c.doubts()), nil
}

// derive fills in the settings that follow from others.
func (c *config) derive() {
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if c.InitialCluster == nil && c.Discovery == "" && c.DiscoverySRV == "" {
		// etcd does this for a name other than "default"; there is no reason to
		// refuse the default name with other peer URLs.
		for _, u := range c.AdvertisePeer {
			c.InitialCluster = append(c.InitialCluster, c.Name+"="+u)
		}
	}
	if c.Debug {
		c.LogLevel = "debug"
	}
}

func (c *config) heartbeat() time.Duration { return time.Duration(c.Heartbeat) * time.Millisecond }
func (c *config) election() time.Duration  { return time.Duration(c.Election) * time.Millisecond }

// stringList is a flag with values separated by commas. Giving it again
// replaces it, as with any other flag.
type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *stringList) Set(s string) error {
	*l = nil
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}
