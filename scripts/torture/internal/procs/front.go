package procs

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// front puts the links between a member and its peers, if there are any: it listens at another port than the one it advertises.
func (c *Cluster) front(m *Member) error {
	if c.config.Links == nil {
		return nil
	}
	ports, err := freePorts(1, c.taken)
	if err != nil {
		return err
	}
	m.Listen, m.Peer = m.Peer, fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	return c.config.Links.Front(m.Name, strings.TrimPrefix(m.Peer, "http://"), strings.TrimPrefix(m.Listen, "http://"))
}

// IDs are the names of our members by their ids, as the first of them says that answers.
func (c *Cluster) IDs(ctx context.Context) (map[string]string, error) {
	last := errNotRunning
	for _, asked := range c.Members {
		if !asked.Running() {
			continue
		}
		list, err := asked.list(ctx)
		if err != nil {
			last = err
			continue
		}
		ids := map[string]string{}
		for _, entry := range list {
			for _, m := range c.Members {
				if slices.Contains(entry.PeerURLs, m.Peer) {
					ids[entry.ID] = m.Name
				}
			}
		}
		return ids, nil
	}
	return nil, fmt.Errorf("procs: no member tells the ids: %w", last)
}

// listed is an entry of /v2/members.
type listed struct {
	ID       string   `json:"id"`
	PeerURLs []string `json:"peerURLs"`
}

func (m *Member) list(ctx context.Context) ([]listed, error) {
	var list struct {
		Members []listed `json:"members"`
	}
	err := m.fetch(ctx, "/v2/members", &list)
	return list.Members, err
}

// Terms are the raft terms of a member's groups, of etcd's one.
func (m *Member) Terms(ctx context.Context) ([]uint64, error) {
	if m.config.Kind == Witan {
		groups, err := m.Groups(ctx)
		var out []uint64
		for _, g := range groups {
			out = append(out, g.Term)
		}
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Client+"/v2/keys/", nil)
	if err != nil {
		return nil, fmt.Errorf("procs: ask %s: %w", m.Name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("procs: ask %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	term, err := strconv.ParseUint(resp.Header.Get("X-Raft-Term"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("procs: term of %s: %w", m.Name, err)
	}
	return []uint64{term}, nil
}
