package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/witan-kv/witan/cluster"
)

// ErrFull says that the cluster of a discovery URL has all its members and the
// caller is none of them.
var ErrFull = errors.New("discovery: cluster is full")

// maxSize is the largest cluster that can be asked for; more is a mistake.
const maxSize = 100

// calm is the least time between two looks at a service that wakes its
// watchers for nothing.
const calm = time.Second

// Join registers a member with a discovery service and waits until the service
// knows as many members as the cluster is to have. It returns them in the order
// of their registration. The URL of the service is the cluster's token.
//
// A member that has registered before and comes back, the same in name and peer
// URLs, goes on where it was: it may have crashed, or lost the answer. (etcd
// ends with "duplicate id", and the token can be thrown away.) Whether it has
// been a running member since and lost its data is not for this package to tell:
// the others know, and refuse it (design §7).
func Join(ctx context.Context, s Service, self cluster.Peer) ([]cluster.Peer, error) {
	c, err := newClient(s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	id := strconv.FormatUint(cluster.MemberID(self.URLs, s.URL), 16)
	if _, err := c.survey(ctx, id); err != nil { // full: do not even register
		return nil, err
	}
	if err := c.register(ctx, id, describe(self)); err != nil {
		return nil, err
	}
	return c.gather(ctx, id)
}

// Registered returns the members of a cluster as a discovery service knows
// them, without becoming one. It waits until they are all known.
func Registered(ctx context.Context, s Service) ([]cluster.Peer, error) {
	c, err := newClient(s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.gather(ctx, "")
}

// roll is what the service knows of a cluster.
type roll struct {
	size  int    // members that the cluster is to have
	index uint64 // as of which this is so
	nodes []node // the registrations that count, at most size, in their order
}

// survey reads the roll. It fails with ErrFull if there is no place for the
// member with this id; the id "" wants none.
func (c *client) survey(ctx context.Context, id string) (roll, error) {
	size, err := c.size(ctx)
	if err != nil {
		return roll{}, err
	}
	a, err := c.ask(ctx, request{method: http.MethodGet})
	if err != nil {
		return roll{}, err
	}
	if a.node == nil {
		return roll{}, fmt.Errorf("discovery: token not found: %s says %d %s; ask for a new discovery URL", c.base.Redacted(), a.code, a.text)
	}
	nodes := slices.DeleteFunc(a.node.Nodes, func(n node) bool { return path.Base(n.Key) == "_config" })
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.CreatedIndex, b.CreatedIndex) })
	nodes = nodes[:min(size, len(nodes))]
	known := slices.ContainsFunc(nodes, func(n node) bool { return path.Base(n.Key) == id })
	if id != "" && !known && len(nodes) == size {
		return roll{}, fmt.Errorf("%w: the %d members of %s are known and this one is not among them; "+
			"use a new discovery URL, or add it to the running cluster and start it with --initial-cluster-state=existing", ErrFull, size, c.base.Redacted())
	}
	return roll{size: size, index: a.index, nodes: nodes}, nil
}

// size returns how many members the cluster is to have.
func (c *client) size(ctx context.Context) (int, error) {
	a, err := c.ask(ctx, request{method: http.MethodGet, key: "_config/size"})
	if err != nil {
		return 0, err
	}
	if a.code == codeKeyNotFound {
		return 0, fmt.Errorf("discovery: size key not found: %s does not know how many members there will be; "+
			"set %s/_config/size, or ask for a new discovery URL", c.base.Host, c.base.Redacted())
	}
	if a.node == nil {
		return 0, c.refused("reading the size", a)
	}
	size, err := strconv.Atoi(a.node.Value)
	if err != nil || size < 1 || size > maxSize {
		return 0, fmt.Errorf("discovery: size key is bad: %s/_config/size is %.100q and not a number from 1 to %d", c.base.Redacted(), a.node.Value, maxSize)
	}
	return size, nil
}

// register makes the member known, and sure that the service shows it.
func (c *client) register(ctx context.Context, id, value string) error {
	a, err := c.ask(ctx, request{method: http.MethodPut, key: id, query: "prevExist=false", value: value})
	switch {
	case err != nil:
		return err
	case a.code == codeNodeExist:
		return c.recognize(ctx, id, value)
	case a.node == nil:
		return c.refused("registering", a)
	}
	c.log.Info().Str("id", id).Str("as", value).Msg("discovery: registered")
	// Another server of the service may be behind. If the event is too old to
	// be seen by now, it is known, too.
	_, err = c.ask(ctx, request{
		method: http.MethodGet, key: id, watch: true,
		query: "wait=true&waitIndex=" + strconv.FormatUint(a.node.CreatedIndex, 10),
	})
	return err
}

// recognize decides whether the registration that exists under a member's id
// is its own.
func (c *client) recognize(ctx context.Context, id, value string) error {
	a, err := c.ask(ctx, request{method: http.MethodGet, key: id})
	if err != nil {
		return err
	}
	if a.node == nil {
		return c.refused("reading the registration", a)
	}
	if a.node.Value != value {
		return fmt.Errorf("discovery: found duplicate id: %s is registered as %.200q, this member is %q; "+
			"give it --initial-advertise-peer-urls of its own, or use a new discovery URL", id, a.node.Value, value)
	}
	c.log.Warn().Str("id", id).Str("as", value).
		Msg("discovery: this member is registered already and goes on; if another process has its name and peer URLs, give one of them others")
	return nil
}

// gather waits until all members are known and returns them.
func (c *client) gather(ctx context.Context, id string) ([]cluster.Peer, error) {
	seen := -1
	for {
		r, err := c.survey(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(r.nodes) == r.size {
			c.log.Info().Msgf("discovery: all %d members are known", r.size)
			return parsePeers(values(r.nodes))
		}
		c.log.Info().Msgf("discovery: found %d peer(s), waiting for %d more", len(r.nodes), r.size-len(r.nodes))
		if len(r.nodes) == seen {
			if err := sleep(ctx, calm); err != nil {
				return nil, err
			}
		}
		seen = len(r.nodes)
		// Whatever the watch says, or that it says nothing, or that it comes too
		// late: the roll has it.
		query := "wait=true&recursive=true"
		if r.index > 0 {
			query += "&waitIndex=" + strconv.FormatUint(r.index+1, 10)
		}
		if _, err := c.ask(ctx, request{method: http.MethodGet, query: query, watch: true}); err != nil {
			return nil, err
		}
	}
}

func values(nodes []node) []string {
	values := make([]string, len(nodes))
	for i, n := range nodes {
		values[i] = n.Value
	}
	return values
}

func (c *client) refused(doing string, a answer) error {
	return fmt.Errorf("discovery: %s: %s says %d %s", doing, c.base.Host, a.code, a.text)
}
