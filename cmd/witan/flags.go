package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// origin says where a flag comes from, which decides its environment variables.
type origin int

const (
	fromEtcd origin = iota // WITAN_NAME and ETCD_NAME
	ours                   // WITAN_NAME
	command                // asks for something to be printed: no variable
)

// knownFlag is what we know of a flag beside what the flag package knows.
type knownFlag struct {
	name    string
	section string // heading in --help
	origin  origin
	note    string // what to log when it is set and does nothing; "" if it does something
}

// flagTable is every flag the command takes, in the order --help shows them.
type flagTable struct {
	set   *flag.FlagSet
	known []knownFlag
	given map[string]string // the flags that were set, and where: "flag", a variable, FILE:LINE
}

// newFlagTable returns a table whose flags write to c and default to what it holds.
func newFlagTable(c *config) *flagTable {
	t := &flagTable{set: flag.NewFlagSet("witan", flag.ContinueOnError), given: map[string]string{}}
	t.set.SetOutput(io.Discard) // complain prints the error
	t.defineMember(c)
	t.defineCluster(c)
	t.defineDiscovery(c)
	t.defineProxy(c)
	t.defineOwn(c)
	t.defineOther(c)
	t.defineIgnored()
	t.defineRefused(c)
	return t
}

func (t *flagTable) defineMember(c *config) {
	t.section("Member", fromEtcd, func(s *flag.FlagSet) {
		s.StringVar(&c.Name, "name", c.Name, "the member's name in the cluster")
		s.StringVar(&c.DataDir, "data-dir", c.DataDir, "where the member keeps its data (default NAME.etcd)")
		s.Var(&c.ListenClient, "listen-client-urls", "URLs to serve clients on")
		s.Var(&c.AdvertiseClient, "advertise-client-urls", "client URLs told to others")
		s.Var(&c.ListenPeer, "listen-peer-urls", "URLs to serve the other members on")
		s.Uint64Var(&c.SnapshotCount, "snapshot-count", c.SnapshotCount, "log entries between two snapshots")
		s.UintVar(&c.Heartbeat, "heartbeat-interval", c.Heartbeat, "milliseconds between a leader's heartbeats")
		s.UintVar(&c.Election, "election-timeout", c.Election, "milliseconds without a leader before an election")
		s.Var(&c.CORS, "cors", "origins that browsers may call from, * for all (default none)")
	})
}

func (t *flagTable) defineCluster(c *config) {
	t.section("Cluster (used once, when the data directory is empty)", fromEtcd, func(s *flag.FlagSet) {
		s.Var(&c.InitialCluster, "initial-cluster", "all first members: NAME=URL,NAME=URL (default this one alone)")
		s.Var(&c.AdvertisePeer, "initial-advertise-peer-urls", "peer URLs told to others")
		s.StringVar(&c.ClusterState, "initial-cluster-state", c.ClusterState, "new; existing to join a running cluster; auto to join if there is one")
		s.StringVar(&c.Token, "initial-cluster-token", c.Token, "keeps clusters apart: the same on all members")
	})
	t.section("Changes of the cluster", fromEtcd, func(s *flag.FlagSet) {
		s.BoolVar(&c.StrictReconfig, "strict-reconfig-check", c.StrictReconfig, "refuse changes that would cost the cluster its quorum")
		s.BoolVar(&c.ForceNewCluster, "force-new-cluster", c.ForceNewCluster, "go on alone with this member's data; the others are lost for good")
	})
}

func (t *flagTable) defineDiscovery(c *config) {
	t.section("Discovery (used once, when the data directory is empty)", fromEtcd, func(s *flag.FlagSet) {
		s.StringVar(&c.Discovery, "discovery", c.Discovery, "URL where the first members find each other")
		s.StringVar(&c.DiscoveryProxy, "discovery-proxy", c.DiscoveryProxy, "HTTP proxy to reach it through")
		s.StringVar(&c.DiscoveryFallback, "discovery-fallback", c.DiscoveryFallback, "proxy or exit, when the cluster is full")
		s.StringVar(&c.DiscoverySRV, "discovery-srv", c.DiscoverySRV, "DNS domain whose SRV records name the first members")
		s.StringVar(&c.DiscoverySRVName, "discovery-srv-name", c.DiscoverySRVName, "suffix of the service name to ask for")
	})
}

func (t *flagTable) defineProxy(c *config) {
	t.section("Gateway (times in milliseconds)", fromEtcd, func(s *flag.FlagSet) {
		s.StringVar(&c.Proxy, "proxy", c.Proxy, "on or readonly: keep no data, forward requests to the members")
		s.UintVar(&c.ProxyFailureWait, "proxy-failure-wait", c.ProxyFailureWait, "how long a member that failed is left alone")
		s.UintVar(&c.ProxyRefresh, "proxy-refresh-interval", c.ProxyRefresh, "time between two looks at the list of members")
		s.UintVar(&c.ProxyDialTimeout, "proxy-dial-timeout", c.ProxyDialTimeout, "limit for connecting, 0 for none")
		s.UintVar(&c.ProxyWriteTimeout, "proxy-write-timeout", c.ProxyWriteTimeout, "limit for sending a request, 0 for none")
		s.UintVar(&c.ProxyReadTimeout, "proxy-read-timeout", c.ProxyReadTimeout, "limit for reading an answer, 0 for none (watches need that)")
	})
}

func (t *flagTable) defineOwn(c *config) {
	t.section("Beyond etcd", ours, func(s *flag.FlagSet) {
		s.IntVar(&c.Groups, "groups", c.Groups, "raft groups the keys are spread over, 1 to 64; fixed for good")
		s.IntVar(&c.EventHistory, "event-history", c.EventHistory, "past events of each group kept for watches")
		s.IntVar(&c.MaxValueBytes, "max-value-bytes", c.MaxValueBytes, "longest value accepted, in bytes")
		s.BoolVar(&c.ReplaceLostSelf, "replace-lost-self", c.ReplaceLostSelf, "with auto: a member that lost its data takes its own place again")
		s.StringVar(&c.BackupDir, "backup-dir", c.BackupDir, "where to put scheduled backups (default none are made)")
		s.DurationVar(&c.BackupInterval, "backup-interval", c.BackupInterval, "time between two backups, such as 6h30m, 0 for none")
		s.IntVar(&c.BackupKeep, "backup-keep", c.BackupKeep, "how many backups are kept")
	})
}

func (t *flagTable) defineOther(c *config) {
	t.section("Logging", fromEtcd, func(s *flag.FlagSet) {
		s.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn, error, panic or fatal")
		s.BoolVar(&c.Debug, "debug", c.Debug, "the same as --log-level=debug")
		s.Bool("enable-v2", true, "accepted: the v2 API is always on")
	})
	t.section("Configuration file", fromEtcd, func(s *flag.FlagSet) {
		s.StringVar(&c.ConfigFile, "config-file", c.ConfigFile, "settings in YAML, with the names of flags for keys")
	})
	t.section("Information", command, func(s *flag.FlagSet) {
		s.BoolVar(&c.PrintConfig, "print-config", false, "print the settings in effect, as YAML")
		s.BoolVar(&c.Version, "version", false, "print the version")
		s.BoolVar(&c.Help, "help", false, "print this help")
	})
}

// section lets define register flags and files them under a heading.
func (t *flagTable) section(heading string, from origin, define func(*flag.FlagSet)) {
	s := flag.NewFlagSet(heading, flag.ContinueOnError)
	define(s)
	s.VisitAll(func(f *flag.Flag) {
		t.set.Var(f.Value, f.Name, f.Usage)
		t.known = append(t.known, knownFlag{name: f.Name, section: heading, origin: from})
	})
}

// fromFlag is where a flag comes from that was set on the command line.
const fromFlag = "flag"

// parse reads the command line and returns what is left of it.
func (t *flagTable) parse(args []string) (rest []string, err error) {
	if name := t.unknownFlag(args); name != "" {
		var names []string
		for _, k := range t.known {
			names = append(names, "--"+k.name)
		}
		return nil, &usageError{fmt.Errorf("flag provided but not defined: -%s%s", name, didYouMean(nearest("--"+name, names)))}
	}
	if err := t.set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, &usageError{err}
	}
	t.set.Visit(func(f *flag.Flag) { t.given[f.Name] = fromFlag })
	return t.set.Args(), nil
}

// unknownFlag returns the first flag among args that the table does not have,
// "" if it has all. It reads args as the flag package does.
func (t *flagTable) unknownFlag(args []string) string {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			return "" // no more flags
		}
		name, _, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		f := t.set.Lookup(name)
		switch {
		case name == "" || name[0] == '-' || name == "h":
			return "" // the flag package knows what to say
		case f == nil:
			return name
		case !hasValue && !takesNoValue(f) && len(args) > 0:
			args = args[1:]
		}
	}
	return ""
}

// takesNoValue reports whether a flag may stand alone.
func takesNoValue(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// lookup returns what is known of the flag with the name.
func (t *flagTable) lookup(name string) (knownFlag, bool) {
	i := slices.IndexFunc(t.known, func(k knownFlag) bool { return k.name == name })
	if i < 0 {
		return knownFlag{}, false
	}
	return t.known[i], true
}

// apply sets a flag to a value from elsewhere than the command line, unless
// something stronger has set it before.
func (t *flagTable) apply(name, value, from string) error {
	if t.given[name] != "" {
		return nil
	}
	t.given[name] = from
	if err := t.set.Set(name, value); err != nil {
		return fmt.Errorf("%q is not %s", value, wanted(t.set.Lookup(name).Value))
	}
	return nil
}

// wanted says what values a flag takes.
func wanted(v flag.Value) string {
	g, ok := v.(flag.Getter)
	if !ok {
		return "a valid value"
	}
	switch g.Get().(type) {
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case uint, uint64:
		return "a whole number, 0 or more"
	case time.Duration:
		return "a time such as 6h30m"
	}
	return "a valid value"
}

// takesList reports whether several values make sense for the flag.
func (t *flagTable) takesList(k knownFlag) bool {
	_, isList := t.set.Lookup(k.name).Value.(*stringList)
	return isList || k.note != ""
}

// inFile reports whether the flag can be set in a configuration file.
func (k knownFlag) inFile() bool { return k.origin != command && k.name != "config-file" }

// notes returns what to say about the flags that are set and do nothing.
func (t *flagTable) notes() []string {
	var notes []string
	for _, k := range t.known {
		if k.note != "" && t.given[k.name] != "" {
			notes = append(notes, k.note)
		}
	}
	return notes
}
