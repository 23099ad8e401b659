package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/cluster/peer"
)

// enter decides who a process without data is: one of the founders of a new
// cluster or a member of a running one (contract §5.3).
func (n *Node) enter(ctx context.Context) error {
	var id *identity
	var err error
	switch n.cfg.Join {
	case JoinExisting:
		id, err = n.enterExisting(ctx)
	case JoinAuto:
		id, err = n.enterEither(ctx)
	default:
		id, err = n.found(ctx)
	}
	if err != nil {
		return err
	}
	if err := id.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.id = id
	return forgetInstance(n.cfg.DataDir)
}

// found makes this process one of a new cluster's members, unless the others
// say that it already was: a member that lost its data must not vote again
// under its old id (engine §0.5).
func (n *Node) found(ctx context.Context) (*identity, error) {
	id, err := newIdentity(&n.cfg)
	if err != nil {
		return nil, err
	}
	if err := n.cfg.checkOwnURLs(id); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	for _, a := range n.askOthers(ctx, askTimeout) {
		if err := n.refuseToFound(id, a); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// checkOwnURLs compares what the initial cluster says about this member with
// the peer URLs that it advertises.
func (c *Config) checkOwnURLs(id *identity) error {
	for _, m := range id.Members {
		if m.ID == id.MemberID && !SameURLs(m.PeerURLs, c.AdvertisePeerURLs) {
			own := strings.Join(c.AdvertisePeerURLs, ",")
			return fmt.Errorf("--initial-cluster must include %s=%s given --initial-advertise-peer-urls=%s", c.Name, own, own)
		}
	}
	return nil
}

// refuseToFound says why the cluster must not be founded when a running member
// gave an answer: it is founded, with this process as a member that has lost
// its data since, or with members that are not in the initial cluster.
func (n *Node) refuseToFound(id *identity, a answer) error {
	foreign := true
	for _, m := range a.members {
		if m.Name != "" && (m.ID == id.MemberID || SameURLs(m.PeerURLs, n.cfg.AdvertisePeerURLs)) {
			return fmt.Errorf("cluster: member %x has already been bootstrapped, says %s, but its data directory is empty; %s",
				m.ID, a.url, rejoinAdvice)
		}
		if slices.ContainsFunc(id.Members, func(f identityMember) bool { return f.ID == m.ID }) {
			foreign = false
		}
	}
	if foreign {
		return fmt.Errorf("cluster: %s is a member of a running cluster (%s); to join that one add this member to it "+
			"(etcdctl member add NAME URL) and start with --initial-cluster-state=existing", a.url, describeMembers(a.members))
	}
	return nil
}

// enterExisting makes this process the member of a running cluster that was
// added for it. The initial cluster must be the cluster's, with it in.
func (n *Node) enterExisting(ctx context.Context) (*identity, error) {
	answers := n.askOthers(ctx, existingAskTimeout)
	if len(answers) == 0 {
		return nil, errors.New("cluster: cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs; " +
			"--initial-cluster-state=existing needs a running member in --initial-cluster")
	}
	a := answers[0]
	if err := n.checkMembers(a.members); err != nil {
		return nil, fmt.Errorf("cluster: error validating peerURLs against %s: %w", a.url, err)
	}
	return n.enterBy(ctx, answers, peer.JoinRequest{})
}

// checkMembers compares the initial cluster with the members of the running
// one: the same number with the same peer URLs; names may differ (contract §5.3).
func (n *Node) checkMembers(members []peer.Member) error {
	if len(members) != len(n.cfg.InitialCluster) {
		return fmt.Errorf("member count is unequal: --initial-cluster has %d, the cluster %d (%s); add this member first, and list all members",
			len(n.cfg.InitialCluster), len(members), describeMembers(members))
	}
	for _, p := range n.cfg.InitialCluster {
		if !slices.ContainsFunc(members, func(m peer.Member) bool { return SameURLs(m.PeerURLs, p.URLs) }) {
			return fmt.Errorf("unmatched member while checking PeerURLs: the cluster has none with %s; its members are %s",
				strings.Join(p.URLs, ","), describeMembers(members))
		}
	}
	return nil
}

func describeMembers(members []peer.Member) string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name + "=" + strings.Join(m.PeerURLs, ",")
	}
	return strings.Join(names, ", ")
}

// enterEither joins the cluster the others know, and founds one with them if
// they know none.
func (n *Node) enterEither(ctx context.Context) (*identity, error) {
	id, err := newIdentity(&n.cfg)
	if err != nil {
		return nil, err
	}
	for heard := n.cfg.mistaken; ; {
		answers := n.askOthers(ctx, askTimeout)
		if heard = heard || len(answers) > 0; !heard {
			return id, nil
		}
		if awaited(answers, id) {
			return id, nil
		}
		joined, err := n.enterBy(ctx, answers, peer.JoinRequest{Add: true, Replace: n.cfg.ReplaceLostSelf})
		if err == nil || errors.As(err, new(*peer.RefusedError)) {
			return joined, err
		}
		n.log.Info().Err(err).Msg("the cluster does not take this member in yet")
		select {
		case <-time.After(askTimeout):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// awaited says whether the others have begun and wait for this process.
func awaited(answers []answer, id *identity) bool {
	return len(answers) > 0 && slices.ContainsFunc(answers[0].members, func(m peer.Member) bool { return m.ID == id.MemberID && m.Name == "" })
}

// enterBy asks those that answered, one after the other, to take this process in.
func (n *Node) enterBy(ctx context.Context, answers []answer, j peer.JoinRequest) (*identity, error) {
	instance, err := loadInstance(n.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	j.Instance, j.PeerURLs = instance, slices.Sorted(slices.Values(n.cfg.AdvertisePeerURLs))
	if len(answers) == 0 {
		return nil, errors.New("cluster: no other member answers")
	}
	var failures []error
	for _, a := range answers {
		taken, err := peer.Join(ctx, a.url, j)
		if err == nil {
			return joinedIdentity(&taken, instance), nil
		}
		failures = append(failures, fmt.Errorf("cluster: join by way of %s: %w", a.url, err))
		if errors.As(err, new(*peer.RefusedError)) {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// joinedIdentity makes the identity of a process that was taken in. One of the
// founders that had never started is one still: its replicas are voters.
func joinedIdentity(a *peer.JoinAnswer, instance uint64) *identity {
	c := &a.Cluster
	id := &identity{
		Format: identityFormat, ClusterID: c.ID, MemberID: a.Member, Groups: c.Groups, FirstIndex: c.FirstIndex,
		Seed: c.Seed, Removed: c.Removed, Instance: instance, Joined: true,
		LogStore: logStore, LogShards: logShards, ExecShards: execShards,
	}
	for _, f := range c.Founders {
		id.Members = append(id.Members, identityMember{ID: f.ID, Name: f.Name, PeerURLs: f.PeerURLs})
		if f.ID == a.Member {
			id.Joined = false
		}
	}
	for _, m := range a.Members {
		id.Contacts = append(id.Contacts, identityMember{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs})
	}
	return id
}

const (
	askTimeout         = time.Second
	existingAskTimeout = 10 * time.Second // contract §5.3
)

// answer is what one peer URL says about the cluster behind it.
type answer struct {
	url     string
	members []peer.Member
}

// askOthers asks the other members of the initial cluster who is in their
// cluster, and returns what those say that run, in the order of the initial cluster.
func (n *Node) askOthers(ctx context.Context, timeout time.Duration) []answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var urls []string
	for _, p := range n.cfg.InitialCluster {
		if !SameURLs(p.URLs, n.cfg.AdvertisePeerURLs) {
			urls = append(urls, p.URLs...)
		}
	}
	answers := make([]answer, len(urls))
	var wg sync.WaitGroup
	for i, u := range urls {
		wg.Go(func() {
			if members, err := peer.Ask(ctx, u); err == nil {
				answers[i] = answer{u, members}
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(answers, func(a answer) bool { return len(a.members) == 0 })
}
