package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/witan-kv/witan/cluster"
)

// validate reports every fault of the settings that shows without looking at
// the machine, joined by errors.Join. It parses the initial cluster on the way.
func (c *config) validate() error {
	errs := c.invalidFields()
	if c.Heartbeat*5 > c.Election {
		errs = append(errs, fmt.Errorf("--election-timeout (%d ms) must be at least five times --heartbeat-interval (%d ms)",
			c.Election, c.Heartbeat))
	}
	if c.BackupInterval != 0 && c.BackupInterval < time.Second {
		errs = append(errs, fmt.Errorf("--backup-interval: %v is too short; the least is 1s, and 0 is for none", c.BackupInterval))
	}
	errs = append(errs, checkURLs("listen-peer-urls", c.ListenPeer, toListen)...)
	errs = append(errs, checkURLs("listen-client-urls", c.ListenClient, toListen)...)
	errs = append(errs, checkURLs("initial-advertise-peer-urls", c.AdvertisePeer, toAdvertise)...)
	errs = append(errs, checkURLs("advertise-client-urls", c.AdvertiseClient, toAdvertise)...)
	errs = append(errs, c.refusals()...)
	if len(c.InitialCluster) > 0 && (c.Discovery != "" || c.DiscoverySRV != "") || c.Discovery != "" && c.DiscoverySRV != "" {
		errs = append(errs, errors.New("--initial-cluster, --discovery and --discovery-srv exclude each other; set one of them"))
	}
	peers, err := parseCluster(c.InitialCluster)
	if err != nil {
		errs = append(errs, fmt.Errorf("--initial-cluster: %w", err))
	}
	c.peers = peers
	return errors.Join(errs...)
}

// doubts returns what may be meant but is more likely a mistake.
func (c *config) doubts() []string {
	var doubts []string
	if c.ReplaceLostSelf && c.ClusterState != string(cluster.JoinAuto) {
		doubts = append(doubts, "flag --replace-lost-self has no effect without --initial-cluster-state=auto")
	}
	for name, urls := range map[string][]string{
		"initial-advertise-peer-urls": c.AdvertisePeer, "advertise-client-urls": c.AdvertiseClient,
	} {
		for _, raw := range urls {
			if u, err := url.Parse(raw); err == nil && isUnspecified(u.Hostname()) {
				doubts = append(doubts, fmt.Sprintf("--%s: to whoever reads it, %s means their own machine; write the address they reach this one by", name, raw))
			}
		}
	}
	slices.Sort(doubts)
	return doubts
}

// isUnspecified reports whether a host stands for all addresses of a machine.
func isUnspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}

// invalidFields applies the validate tags of config.
func (c *config) invalidFields() []error {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("flag") })
	var invalid validator.ValidationErrors
	if !errors.As(v.Struct(c), &invalid) {
		return nil
	}
	errs := make([]error, len(invalid))
	for i, f := range invalid {
		errs[i] = fmt.Errorf("--%s: %v %s", f.Field(), quoted(f.Value()), ruleText(f))
	}
	return errs
}

// ruleText says in words what a validate tag asks for.
func ruleText(f validator.FieldError) string {
	switch f.Tag() {
	case "required":
		return "is empty; give it a value"
	case "min":
		return "is too small; the least is " + f.Param()
	case "max":
		return "is too large; the most is " + f.Param()
	case "oneof":
		return "is not one of: " + strings.ReplaceAll(f.Param(), " ", ", ")
	case "excludesall":
		return "must not contain a comma or an equals sign"
	}
	return "does not satisfy the rule " + f.Tag()
}

func quoted(value any) any {
	if s, ok := value.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return value
}

func checkURLs(name string, urls []string, what use) []error {
	if len(urls) == 0 {
		return []error{fmt.Errorf("--%s: no URL given; write http://HOST:PORT", name)}
	}
	var errs []error
	for _, u := range urls {
		if err := checkURL(u, what); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", name, err))
		}
	}
	if u := repeated(urls); u != "" {
		errs = append(errs, fmt.Errorf("--%s: %s is there twice; remove one", name, u))
	}
	return errs
}

// refusals says no to flags that nothing sensible can be done with.
func (c *config) refusals() []error {
	var errs []error
	if c.Peers != "" {
		errs = append(errs, errors.New("--peers is no longer supported; use --initial-cluster"))
	}
	if c.PeersFile != "" {
		errs = append(errs, errors.New("--peers-file is no longer supported; use --initial-cluster"))
	}
	return errs
}

// validateStart reports faults that depend on what is in the data directory. A
// member that has data starts from it whatever the flags for a first start say
// (contract §5.3).
func (c *config) validateStart() error {
	if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		return fmt.Errorf("--data-dir: %s is not a directory", c.DataDir)
	}
	hasData, err := cluster.HasData(c.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	var errs []error
	if alien := c.alienData(); alien != "" {
		errs = append(errs, fmt.Errorf("--data-dir: %s is data of etcd, which witan cannot read; choose another directory", alien))
	}
	if c.isGateway() && !hasData {
		return errors.Join(errs...)
	}
	if c.given["listen-client-urls"] != "" && c.given["advertise-client-urls"] == "" {
		errs = append(errs, errors.New("--advertise-client-urls is required when --listen-client-urls is set: "+
			"clients must be told how to reach this member"))
	}
	if hasData {
		return errors.Join(append(errs, c.memberFaults())...)
	}
	if c.Discovery == "" && c.DiscoverySRV == "" {
		errs = append(errs, c.clusterFaults()...)
	}
	return errors.Join(errs...)
}

// memberFaults reports what keeps a member from starting from its data.
func (c *config) memberFaults() error {
	switch {
	case c.hasProxyData():
		return fmt.Errorf("--data-dir: %s holds both a member and a gateway (proxy/); remove what is not wanted", c.DataDir)
	case c.Proxy != "off":
		return fmt.Errorf("--proxy=%s: %s holds a member, and a gateway has no data; choose another --data-dir or leave out --proxy", c.Proxy, c.DataDir)
	}
	return nil
}

// isGateway reports whether to start as a gateway: because --proxy says so or
// because this directory has been one's before (contract §5.3).
func (c *config) isGateway() bool { return c.Proxy != "off" || c.hasProxyData() }

func (c *config) hasProxyData() bool {
	_, err := os.Stat(filepath.Join(c.DataDir, "proxy"))
	return err == nil
}

// clusterFaults reports what is wrong with the list of first members.
func (c *config) clusterFaults() []error {
	var errs []error
	var all []string
	var own []string
	for _, p := range c.peers {
		for _, u := range p.URLs {
			if err := checkURL(u, toAdvertise); err != nil {
				errs = append(errs, fmt.Errorf("--initial-cluster: %w", err))
			}
		}
		if p.Name == c.Name {
			own = p.URLs
		}
		all = append(all, p.URLs...)
	}
	if u := repeated(all); u != "" {
		errs = append(errs, fmt.Errorf("--initial-cluster: duplicate URL %s; every member needs its own", u))
	}
	switch {
	case len(errs) > 0 || len(c.peers) == 0:
	case own == nil:
		errs = append(errs, fmt.Errorf("couldn't find local name %q in the initial cluster configuration; "+
			"add %s to --initial-cluster or change --name", c.Name, c.ownEntries()))
	case !cluster.SameURLs(own, c.AdvertisePeer):
		errs = append(errs, fmt.Errorf("--initial-cluster must include %s given --initial-advertise-peer-urls=%s",
			c.ownEntries(), c.AdvertisePeer.String()))
	}
	return errs
}

// ownEntries is what the initial cluster should say about this member.
func (c *config) ownEntries() string {
	entries := make([]string, len(c.AdvertisePeer))
	for i, u := range c.AdvertisePeer {
		entries[i] = c.Name + "=" + u
	}
	return strings.Join(entries, ",")
}

// alienData returns the path of etcd's own data in the data directory, "" if
// there is none. Starting beside it would look like an upgrade that lost
// everything.
func (c *config) alienData() string {
	for _, name := range []string{"member/wal", "member/snap"} {
		path := filepath.Join(c.DataDir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
