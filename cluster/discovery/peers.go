package discovery

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/witan-kv/witan/cluster"
)

// describe is what a member registers: NAME=URL for each of its peer URLs, in
// the order and with the separators of etcd, so that both can share a service.
func describe(p cluster.Peer) string {
	pairs := make([]string, len(p.URLs))
	for i, u := range p.URLs {
		pairs[i] = p.Name + "=" + u
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// parsePeers reads what members have registered, one value each. A cluster can
// be made of the result: names and URLs are all different, and the URLs are
// such that they can be spoken to.
func parsePeers(values []string) ([]cluster.Peer, error) {
	var peers []cluster.Peer
	owner := map[string]string{} // of a URL
	for _, value := range values {
		p, err := parsePeer(value)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(peers, func(q cluster.Peer) bool { return q.Name == p.Name }) {
			return nil, fmt.Errorf("discovery: found duplicate name: two members are called %q; "+
				"give every member its own --name and use a new discovery URL", p.Name)
		}
		for _, u := range p.URLs {
			if other, taken := owner[u]; taken {
				return nil, fmt.Errorf("discovery: members %q and %q both have the peer URL %s; "+
					"give every member its own --initial-advertise-peer-urls and use a new discovery URL", other, p.Name, u)
			}
			owner[u] = p.Name
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// parsePeer reads what describe has written.
func parsePeer(value string) (cluster.Peer, error) {
	var p cluster.Peer
	for pair := range strings.SplitSeq(value, ",") {
		name, raw, ok := strings.Cut(pair, "=")
		if !ok || name == "" || p.Name != "" && name != p.Name {
			return p, fmt.Errorf("discovery: %.200q is not the registration of a member, which reads NAME=http://HOST:PORT; use a new discovery URL", value)
		}
		if err := checkPeerURL(name, raw); err != nil {
			return p, err
		}
		p.Name = name
		p.URLs = append(p.URLs, raw)
	}
	return p, nil
}

func checkPeerURL(name, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err == nil && u.Scheme == "https":
		return fmt.Errorf("discovery: member %q has the peer URL %s, and https needs certificates, which witan cannot use yet", name, raw)
	case err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "":
		return fmt.Errorf("discovery: invalid peer URL: member %q has %.200q; peer URLs are http://HOST:PORT", name, raw)
	}
	return nil
}
