package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/witan-kv/witan/cluster"
)

// use says what a URL is for, which decides what it may look like.
type use int

const (
	toListen    use = iota // any address of this machine, ":0" included
	toAdvertise            // others connect to it
)

// checkURL says what is wrong with raw as one of a member's URLs, nil if
// nothing is: http://HOST:PORT and not a byte more (contract §4.1).
func checkURL(raw string, what use) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%q is not a URL; write http://HOST:PORT", raw)
	}
	switch u.Scheme {
	case "http":
	case "https":
		return fmt.Errorf("%s: https needs certificates, which witan cannot use yet; write http://", raw)
	default:
		return fmt.Errorf("%s: only http is served; write http://HOST:PORT", raw)
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%s: there must be nothing but http://HOST:PORT", raw)
	}
	if u.Port() == "" {
		return fmt.Errorf("%s: the port is missing; write http://HOST:PORT", raw)
	}
	if _, err := net.LookupPort("tcp", u.Port()); err != nil {
		return fmt.Errorf("%s: %s is not a port; ports go from 1 to 65535", raw, u.Port())
	}
	if what == toAdvertise {
		return checkReachable(u, raw)
	}
	return nil
}

// checkReachable says why others cannot use a URL to connect to this member.
func checkReachable(u *url.URL, raw string) error {
	switch port, _ := net.LookupPort("tcp", u.Port()); {
	case u.Hostname() == "":
		return fmt.Errorf("%s: others need to know the host; write http://HOST:PORT", raw)
	case strings.Contains(u.Hostname(), "%"):
		// A zone is the name of a network interface, and that of this machine.
		return fmt.Errorf("%s: the zone of an address means nothing on other machines; use an address without one", raw)
	case port == 0:
		return fmt.Errorf("%s: others cannot connect to port 0; write the port this member listens on", raw)
	}
	return nil
}

// address returns the HOST:PORT of a URL that checkURL has accepted. Zones of
// IPv6 addresses are written %25 in URLs and % elsewhere.
func address(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return strings.TrimPrefix(raw, "http://")
	}
	return u.Host
}

// parseCluster reads NAME=URL pairs; a name given several times has several
// URLs. The members come in the order they are first named.
func parseCluster(pairs []string) ([]cluster.Peer, error) {
	var peers []cluster.Peer
	for _, pair := range pairs {
		name, raw, ok := strings.Cut(pair, "=")
		if !ok || name == "" || raw == "" {
			return nil, fmt.Errorf("%q does not name a member; write NAME=http://HOST:PORT", pair)
		}
		i := slices.IndexFunc(peers, func(p cluster.Peer) bool { return p.Name == name })
		if i < 0 {
			peers = append(peers, cluster.Peer{Name: name})
			i = len(peers) - 1
		}
		peers[i].URLs = append(peers[i].URLs, raw)
	}
	return peers, nil
}

// repeated returns the first URL that occurs twice, "" if none does.
func repeated(urls []string) string {
	seen := map[string]bool{}
	for _, u := range urls {
		if seen[u] {
			return u
		}
		seen[u] = true
	}
	return ""
}
