package procs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// ErrNoLeader says no member could name a leader that is one of ours.
var ErrNoLeader = errors.New("procs: no leader known")

// Leader is the member that leads, as the running members see it: group 0 of witan, the cluster of etcd.
func (c *Cluster) Leader(ctx context.Context, kind Kind) (*Member, error) {
	for ctx.Err() == nil {
		for _, m := range c.Members {
			if leader := c.leaderSeenBy(ctx, m, kind); leader != nil {
				return leader, nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, ErrNoLeader
}

// GroupStatus is one replica as /v2/stats/groups shows it.
type GroupStatus struct {
	Group     int    `json:"group"`
	Leader    string `json:"leader"` // member id, hex
	Term      uint64 `json:"term"`
	RaftIndex uint64 `json:"raftIndex"`
	Index     uint64 `json:"index"`
	Hash      string `json:"hash"`
}

// Groups asks a witan member for the state of its replicas.
func (m *Member) Groups(ctx context.Context) ([]GroupStatus, error) {
	var answer struct {
		Groups []GroupStatus `json:"groups"`
	}
	err := m.fetch(ctx, "/v2/stats/groups", &answer)
	return answer.Groups, err
}

// Replicas is which members hold a group, as one of them knows it. The group is "meta" or a number.
type Replicas struct {
	Group  string
	Voters []string
}

// Replicas asks a witan member who holds the groups.
func (m *Member) Replicas(ctx context.Context) ([]Replicas, error) {
	type held struct {
		Group  int      `json:"group"`
		Voters []string `json:"voters"`
	}
	var answer struct {
		Meta   *held  `json:"meta"`
		Groups []held `json:"groups"`
	}
	if err := m.fetch(ctx, "/v2/stats/groups", &answer); err != nil {
		return nil, err
	}
	if answer.Meta == nil {
		return nil, fmt.Errorf("procs: %s does not show its meta group", m.Name)
	}
	out := []Replicas{{"meta", answer.Meta.Voters}}
	for _, g := range answer.Groups {
		out = append(out, Replicas{fmt.Sprint(g.Group), g.Voters})
	}
	return out, nil
}

func (c *Cluster) leaderSeenBy(ctx context.Context, m *Member, kind Kind) *Member {
	if !m.Running() {
		return nil
	}
	var id string
	if kind == Witan {
		groups, err := m.Groups(ctx)
		if err != nil || len(groups) == 0 {
			return nil
		}
		id = groups[0].Leader
	} else {
		var self struct {
			LeaderInfo struct {
				Leader string `json:"leader"`
			} `json:"leaderInfo"`
		}
		if m.fetch(ctx, "/v2/stats/self", &self) != nil {
			return nil
		}
		id = self.LeaderInfo.Leader
	}
	return c.byID(ctx, m, id)
}

func (c *Cluster) byID(ctx context.Context, asked *Member, id string) *Member {
	list, err := asked.list(ctx)
	if err != nil {
		return nil
	}
	for _, entry := range list {
		for _, m := range c.Members {
			if entry.ID == id && slices.Contains(entry.PeerURLs, m.Peer) && m.Running() {
				return m
			}
		}
	}
	return nil
}

func (m *Member) fetch(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Client+path, nil)
	if err != nil {
		return fmt.Errorf("procs: ask %s: %w", m.Name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("procs: ask %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("procs: %s answers %s to %s", m.Name, resp.Status, path)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("procs: %s%s: %w", m.Name, path, err)
	}
	return nil
}
