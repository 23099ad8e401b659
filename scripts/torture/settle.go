package main

import (
	"context"
	"slices"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// entries are the members there are to be, as each of them should list them.
func (c *council) entries() []check.Entry {
	var out []check.Entry
	for _, m := range c.cluster.Members {
		if c.ids[m] != "" {
			out = append(out, check.Entry{ID: c.ids[m], Name: m.Name, Peers: []string{m.Peer}, Clients: []string{m.Client}})
		}
	}
	slices.SortFunc(out, func(a, b check.Entry) int { return compareIDs(a.ID, b.ID) })
	return out
}

// compareIDs orders ids as numbers: hex without leading zeros.
func compareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare([]byte(a), []byte(b))
}

// settled waits until every member lists the same members and, where the server shows it, every group is held by exactly those.
func (c *council) settled(ctx context.Context) error {
	begin := time.Now()
	soon, cancel := context.WithTimeout(ctx, agrees)
	defer cancel()
	for {
		wrong := c.unsettled(soon)
		if len(wrong) == 0 {
			c.rep.checked("memberships settled", 1)
			c.rep.worst("membership settled after, worst s", time.Since(begin).Seconds())
			return nil
		}
		if pause(soon, 50*time.Millisecond) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.rep.violate(wrong...)
			return errNotHealed
		}
	}
}

// unsettled says what is not as wanted.
func (c *council) unsettled(ctx context.Context) []check.Violation {
	lists := map[string][]check.Entry{}
	var held []check.Replicas
	for _, m := range c.cluster.Members {
		if c.ids[m] == "" {
			continue
		}
		list, err := c.admin(m).Members(ctx)
		if err != nil {
			return []check.Violation{{Check: "members", Detail: m.Name + " shows no members: " + err.Error()}}
		}
		lists[m.Name] = []check.Entry{}
		for _, e := range list {
			lists[m.Name] = append(lists[m.Name], check.Entry{ID: e.ID, Name: e.Name, Peers: e.PeerURLs, Clients: e.ClientURLs})
		}
		if c.opt.kind != procs.Witan {
			continue
		}
		shown, err := m.Replicas(ctx)
		if err != nil {
			return []check.Violation{{Check: "replicas", Detail: m.Name + " shows no groups: " + err.Error()}}
		}
		if len(shown) != c.opt.groups+1 {
			return []check.Violation{{Check: "replicas", Detail: m.Name + " does not show all groups"}}
		}
		for _, r := range shown {
			held = append(held, check.Replicas{Asked: m.Name, Group: r.Group, Voters: sorted(r.Voters)})
		}
	}
	return append(check.Lists(lists, c.entries()), check.Held(held, c.wanted())...)
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// balanced waits until leaders are spread evenly over the members.
func (c *council) balanced(ctx context.Context) error {
	if c.opt.kind != procs.Witan {
		return nil
	}
	begin := time.Now()
	soon, cancel := context.WithTimeout(ctx, balances)
	defer cancel()
	for {
		var leaders []string
		groups, err := c.cluster.Members[0].Groups(soon)
		for _, g := range groups {
			leaders = append(leaders, g.Leader)
		}
		text, even := check.Balanced(leaders, c.wanted())
		if err == nil && even {
			c.rep.checked("leaders balanced", 1)
			c.rep.worst("leaders balanced after, worst s", time.Since(begin).Seconds())
			return nil
		}
		if pause(soon, 100*time.Millisecond) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.rep.violate(check.Violation{Check: "balance", Detail: "leaders are not spread evenly: " + text})
			return nil
		}
	}
}
