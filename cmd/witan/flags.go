package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
}

// newFlagTable returns a table whose flags write to c and default to what it holds.
func newFlagTable(c *config) *flagTable {
	t := &flagTable{set: flag.NewFlagSet("witan", flag.ContinueOnError)}
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
		s.StringVar(&c.ConfigFile, "config-file", c.ConfigFile, "YAML file with settings")
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

// arguments returns the flags set on the command line, each with "flag" for
// where it comes from.
func (t *flagTable) arguments() map[string]string {
	given := map[string]string{}
	t.set.Visit(func(f *flag.Flag) { given[f.Name] = "flag" })
	return given
}

// notes returns what to say about the given flags that do nothing.
func (t *flagTable) notes(given map[string]string) []string {
	var notes []string
	for _, k := range t.known {
		if k.note != "" && given[k.name] != "" {
			notes = append(notes, k.note)
		}
	}
	return notes
}

// applyEnvironment sets the flags not given yet from their variables and notes
// in given which. It returns a note for every variable that looks like ours and
// is not.
func (t *flagTable) applyEnvironment(env []string, given map[string]string) (unknown []string, err error) {
	values := ownVariables(env)
	var errs []error
	for _, k := range t.known {
		for _, variable := range k.variables() {
			value, ok := values[variable]
			delete(values, variable)
			if !ok || given[k.name] != "" {
				continue
			}
			given[k.name] = variable
			if err := t.set.Set(k.name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %q is not a valid value: %w", variable, value, err))
			}
		}
	}
	for _, variable := range slices.Sorted(maps.Keys(values)) {
		unknown = append(unknown, "environment variable "+variable+" is not known and has no effect")
	}
	return unknown, errors.Join(errs...)
}

// variables names the environment variables of the flag, the strongest first.
func (k knownFlag) variables() []string {
	name := strings.ToUpper(strings.ReplaceAll(k.name, "-", "_"))
	switch k.origin {
	case fromEtcd:
		return []string{"WITAN_" + name, "ETCD_" + name}
	case ours:
		return []string{"WITAN_" + name}
	}
	return nil
}

// ownVariables returns the non-empty variables whose names start as ours do.
func ownVariables(env []string) map[string]string {
	values := map[string]string{}
	for _, assignment := range env {
		name, value, _ := strings.Cut(assignment, "=")
		if value != "" && (strings.HasPrefix(name, "ETCD_") || strings.HasPrefix(name, "WITAN_")) {
			values[name] = value
		}
	}
	return values
}
