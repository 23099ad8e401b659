package cluster

import (
	"fmt"
	"net"
	"net/url"
	"slices"
)

// SameURLs reports whether two lists of URLs lead to the same places: by their
// text or, failing that, by the addresses their hosts resolve to. It may ask
// the resolver.
func SameURLs(a, b []string) bool {
	return equalSets(a, b) || len(a) == len(b) && equalSets(resolved(a), resolved(b))
}

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// resolved replaces host names by addresses where the resolver knows them.
func resolved(urls []string) []string {
	addrs := make([]string, len(urls))
	for i, raw := range urls {
		addrs[i] = raw
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		if tcp, err := net.ResolveTCPAddr("tcp", u.Host); err == nil {
			addrs[i] = u.Scheme + "://" + tcp.String()
		}
	}
	return addrs
}

// hostPort returns what to listen on for a URL.
func hostPort(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	return u.Host, nil
}
