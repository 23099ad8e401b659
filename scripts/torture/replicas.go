package main

import (
	"context"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// replicas waits until all members have applied the same and compares them: by running hash where the server
// shows one, by their own listings otherwise (MR-8).
func (t *trial) replicas(ctx context.Context) {
	if t.opt.members == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, agrees)
	defer cancel()
	compare := t.compareListings
	if t.opt.kind == procs.Witan {
		compare = t.compareHashes
	}
	var samples samples
	for {
		together, err := compare(ctx, &samples)
		if together {
			break
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			t.rep.violate(check.Violation{Check: "hash", Detail: "the replicas did not come to the same position", Evidence: errorText(err)})
			break
		}
	}
	found, hashes := check.Digests(samples.digests)
	t.rep.violate(found...)
	t.rep.checked("hash pairs", hashes)
	found, listings := check.Listings(samples.listings)
	t.rep.violate(found...)
	t.rep.checked("listing pairs", listings)
	if hashes+listings == 0 {
		t.rep.inconclusive("no two replicas could be compared")
	}
}

// samples is all that was seen of the replicas.
type samples struct {
	digests  []check.Digest
	listings []history.Listing
}

func errorText(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

// compareHashes takes one sample of every replica and says whether those of each group stand at the same raft index.
func (t *trial) compareHashes(ctx context.Context, s *samples) (bool, error) {
	positions := map[int]map[uint64]bool{}
	for _, m := range t.cluster.Members {
		groups, err := m.Groups(ctx)
		if err != nil {
			return false, err
		}
		for _, g := range groups {
			s.digests = append(s.digests, check.Digest{Member: m.Name, Group: g.Group, RaftIndex: g.RaftIndex, Hash: g.Hash})
			if positions[g.Group] == nil {
				positions[g.Group] = map[uint64]bool{}
			}
			positions[g.Group][g.RaftIndex] = true
		}
	}
	together := len(positions) == t.opt.groups
	for _, p := range positions {
		together = together && len(p) == 1
	}
	return together, nil
}

// compareListings takes every member's own listing and says whether they stand at the same index.
func (t *trial) compareListings(ctx context.Context, s *samples) (bool, error) {
	indexes := map[uint64]bool{}
	for _, url := range t.urls() {
		c := api.NewClient(url, heals)
		l, err := c.List(ctx, "/", false)
		c.Close()
		if err != nil {
			return false, err
		}
		s.listings = append(s.listings, l)
		indexes[l.Index] = true
	}
	return len(indexes) == 1, nil
}
