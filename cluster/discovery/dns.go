package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
)

// DNS says where SRV records of members are.
type DNS struct {
	Domain   string        // --discovery-srv
	Service  string        // --discovery-srv-name, a suffix of the service's name
	Resolver *net.Resolver // nil is the system's
	Logger   zerolog.Logger

	pause time.Duration // after the first failure, 0 = firstPause
}

const (
	secureService = "etcd-server-ssl" // members that speak https
	plainService  = "etcd-server"
)

// LookUp returns the members that SRV records name (contract §5.6). One of them
// has to be self, by the text of its peer URLs or by what their hosts resolve
// to; it gets self's name and the others "0", "1" and so on, until they say
// their own. A self without a name is none of them.
//
// The peer URLs are those of the records, also for self: ids are made of them
// and must be the same on all members. A target that does not resolve is a
// member nevertheless; leaving it out, as etcd does, would give a cluster of
// another size than the others see.
func LookUp(ctx context.Context, d DNS, self cluster.Peer) ([]cluster.Peer, error) {
	l := &lookup{DNS: d, retries: backoff{log: d.Logger, first: cmp.Or(d.pause, firstPause)}}
	if l.Resolver == nil {
		l.Resolver = net.DefaultResolver
	}
	l.Resolver = promptly(l.Resolver)
	for {
		peers, err := l.peers(ctx, self)
		switch {
		case err == nil:
			return peers, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, new(*unavailableError)):
			return nil, err
		}
		if err := l.retries.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// promptly returns a resolver that gives up when its context ends. Go's waits
// for an answer to SRV questions as long as /etc/resolv.conf lets it.
func promptly(r *net.Resolver) *net.Resolver {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &net.Resolver{
		PreferGo: r.PreferGo, StrictErrors: r.StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		},
	}
}

// lookup is one search in DNS.
type lookup struct {
	DNS
	retries backoff
}

func (l *lookup) peers(ctx context.Context, self cluster.Peer) ([]cluster.Peer, error) {
	secure, err := l.targets(ctx, secureService)
	if err != nil {
		return nil, err
	}
	if len(secure) > 0 {
		return nil, fmt.Errorf("--discovery-srv: %s lists members that speak https (%s), which needs certificates that witan cannot use yet; "+
			"list them under %s", l.question(secureService), describeTargets(secure), l.question(plainService))
	}
	targets, err := l.targets(ctx, plainService)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("--discovery-srv: neither %s nor %s has SRV records; add one for each member", l.question(secureService), l.question(plainService))
	}
	own := -1
	if self.Name != "" {
		if own, err = l.find(ctx, targets, self.URLs); err != nil {
			return nil, err
		}
	}
	return nameTargets(targets, own, self.Name), nil
}

// question is the name that the records of a service are asked for by.
func (l *lookup) question(service string) string {
	return "_" + l.service(service) + "._tcp." + l.Domain
}

func (l *lookup) service(service string) string {
	if l.Service != "" {
		return service + "-" + l.Service
	}
	return service
}

// target is where one SRV record points.
type target struct {
	host string // without the final dot
	port string
}

func (t target) String() string { return net.JoinHostPort(t.host, t.port) }

func describeTargets(targets []target) string {
	texts := make([]string, len(targets))
	for i, t := range targets {
		texts[i] = t.String()
	}
	return strings.Join(texts, ", ")
}

// targets returns the records of a service in an order that does not depend on
// the priorities and dice of DNS, without repetitions.
func (l *lookup) targets(ctx context.Context, service string) ([]target, error) {
	_, records, err := l.Resolver.LookupSRV(ctx, l.service(service), "tcp", l.Domain)
	if err != nil {
		if notFound(err) {
			return nil, nil
		}
		return nil, lookupError(err)
	}
	targets := make([]target, len(records))
	for i, r := range records {
		targets[i] = target{strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))}
	}
	slices.SortFunc(targets, func(a, b target) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port)) })
	return slices.Compact(targets), nil
}

// find returns which of the targets is the member with these peer URLs: the one
// that has the same text, which needs no answer from DNS, or else the one that
// has the same address.
func (l *lookup) find(ctx context.Context, targets []target, urls []string) (int, error) {
	own := make([]target, len(urls))
	for i, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			return 0, fmt.Errorf("discovery: %w", err)
		}
		own[i] = target{strings.TrimSuffix(u.Hostname(), "."), u.Port()}
	}
	var found []int
	for i, t := range targets {
		if slices.ContainsFunc(own, func(o target) bool { return o.port == t.port && strings.EqualFold(o.host, t.host) }) {
			found = append(found, i)
		}
	}
	var failures []error
	if len(found) == 0 {
		found, failures = l.resolve(ctx, targets, own)
	}
	switch len(found) {
	case 0:
		return 0, l.notAmong(targets, urls, failures)
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("--discovery-srv: %s and %s of %s are both this member (%s); leave one SRV record for each member",
		targets[found[0]], targets[found[1]], l.question(plainService), strings.Join(urls, ","))
}

// notAmong is the error for a member that is none of the targets, as far as
// could be found out.
func (l *lookup) notAmong(targets []target, urls []string, failures []error) error {
	err := fmt.Errorf("--discovery-srv: cannot find this member (%s) among %s of %s; "+
		"add an SRV record for it, or set --initial-advertise-peer-urls to what its record says",
		strings.Join(urls, ","), describeTargets(targets), l.question(plainService))
	if len(failures) == 0 {
		return err
	}
	err = fmt.Errorf("%w (%w)", err, errors.Join(failures...))
	if slices.ContainsFunc(failures, func(f error) bool { return errors.As(f, new(*unavailableError)) }) {
		return &unavailableError{err}
	}
	return err
}

// resolve returns the targets that share a port and an address with one of own,
// and what could not be resolved.
func (l *lookup) resolve(ctx context.Context, targets, own []target) (found []int, failures []error) {
	for i, t := range targets {
		for _, o := range own {
			if o.port != t.port {
				continue
			}
			theirs, err1 := l.addresses(ctx, t.host)
			ours, err2 := l.addresses(ctx, o.host)
			if err := errors.Join(err1, err2); err != nil {
				failures = append(failures, err)
			}
			if slices.ContainsFunc(theirs, func(a netip.Addr) bool { return slices.Contains(ours, a) }) {
				found = append(found, i)
				break
			}
		}
	}
	return found, failures
}

func (l *lookup) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := l.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, lookupError(err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

func notFound(err error) bool {
	var failure *net.DNSError
	return errors.As(err, &failure) && failure.IsNotFound
}

// lookupError tells a server of DNS that does not answer from one that says no.
func lookupError(err error) error {
	var failure *net.DNSError
	if errors.As(err, &failure) && !failure.IsNotFound {
		return &unavailableError{fmt.Errorf("--discovery-srv: %w", err)}
	}
	return fmt.Errorf("--discovery-srv: %w", err)
}

// nameTargets makes members of targets.
func nameTargets(targets []target, own int, name string) []cluster.Peer {
	peers := make([]cluster.Peer, len(targets))
	next := 0
	for i, t := range targets {
		peers[i] = cluster.Peer{Name: name, URLs: []string{"http://" + t.String()}}
		if i == own {
			continue
		}
		if strconv.Itoa(next) == name {
			next++
		}
		peers[i].Name = strconv.Itoa(next)
		next++
	}
	return peers
}
