package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lni/dragonboat/v4"

	"github.com/witan-kv/witan/cluster/peer"
)

// bootstrap makes this member one of a new cluster's, unless the others say
// that it already was: a member that lost its data must not vote again under
// its old id (engine §0.5).
func (n *Node) bootstrap(ctx context.Context) error {
	id, err := newIdentity(&n.cfg)
	if err != nil {
		return err
	}
	for _, m := range id.Members {
		if m.ID == id.MemberID && !slices.Equal(m.PeerURLs, slices.Sorted(slices.Values(n.cfg.AdvertisePeerURLs))) {
			return fmt.Errorf("cluster: --initial-cluster must include %s=%s given --initial-advertise-peer-urls=%s",
				n.cfg.Name, strings.Join(n.cfg.AdvertisePeerURLs, ","), strings.Join(n.cfg.AdvertisePeerURLs, ","))
		}
	}
	if err := refuseStarted(ctx, id); err != nil {
		return err
	}
	n.id = id
	return id.save(n.cfg.DataDir)
}

const askTimeout = time.Second

// refuseStarted asks the other members, as far as they run, whether this one
// has started before.
func refuseStarted(ctx context.Context, id *identity) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var found error
	var wg sync.WaitGroup
	for _, m := range id.Members {
		if m.ID == id.MemberID {
			continue
		}
		for _, u := range m.PeerURLs {
			wg.Go(func() {
				members, err := peer.Ask(ctx, u)
				if err != nil {
					return // not running yet
				}
				for _, other := range members {
					if other.ID == id.MemberID && other.Name != "" {
						mu.Lock()
						found = fmt.Errorf("cluster: member %x has already been bootstrapped, says %s, but its data directory is empty; %s", id.MemberID, u, rejoinAdvice)
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	return found
}

// initialMembers returns the replicas a group starts with, or nil if this
// member's replica was started before.
func (n *Node) initialMembers(shard uint64) (map[uint64]dragonboat.Target, error) {
	if n.nh.HasNodeInfo(shard, n.id.MemberID) {
		return nil, nil
	}
	if n.id.Started {
		return nil, fmt.Errorf("cluster: the raft log in %s is gone; %s", n.cfg.DataDir, rejoinAdvice)
	}
	members := make(map[uint64]dragonboat.Target)
	for _, m := range n.id.Members {
		members[m.ID] = peer.Target(m.ID)
	}
	return members, nil
}

// join waits until this member has everything that was committed when it
// started, so that nobody reads what was current before it stopped, and tells
// the others its name and where its clients find it.
func (n *Node) join(ctx context.Context) error {
	for {
		err := n.joinOnce(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrStopped) {
			return err
		}
		n.log.Info().Err(err).Msg("waiting for a quorum of members")
	}
}

func (n *Node) joinOnce(ctx context.Context) error {
	if err := readIndexes(ctx, n.raftGroups()); err != nil {
		return fmt.Errorf("cluster: catch up: %w", err)
	}
	urls := slices.Sorted(slices.Values(n.cfg.AdvertiseClientURLs))
	if m, _ := n.meta.member(n.id.MemberID); m.Name == n.cfg.Name && slices.Equal(m.ClientURLs, urls) {
		return nil
	}
	cmd, err := json.Marshal(metaCommand{Op: metaPublish, ID: n.id.MemberID, Name: n.cfg.Name, ClientURLs: urls})
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.metaGroup.timeout)
	defer cancel()
	res, err := n.nh.SyncPropose(ctx, n.metaGroup.session, cmd)
	if err != nil {
		return fmt.Errorf("cluster: publish this member: %w", err)
	}
	if res.Value == metaNoMember {
		return fmt.Errorf("cluster: member %x is not in the cluster any more: %w", n.id.MemberID, ErrStopped)
	}
	return nil
}

// hostPort returns what to listen on for a URL.
func hostPort(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	return u.Host, nil
}
