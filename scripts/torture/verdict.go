package main

import (
	"context"
	"fmt"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

const (
	// heals is how soon every top-level directory must take writes once all members run (MR-8).
	heals = 10 * time.Second
	// agrees is how soon replicas must have applied the same.
	agrees = 30 * time.Second
	// searches bounds the search for linearizations.
	searches = 60 * time.Second
)

// everything is the covers argument of checks in runs where all keys belong to the load.
func everything(string) bool { return true }

// The numbers of clients that are no part of the load.
const (
	pulsing  = 500         // and upwards
	beginner = 1000 + iota // writes the first event
	marks                  // writes what marks the end
	prober
	calming    = 2000 // and upwards
	bystanding = 6000 // and upwards
	filling    = 3000 // and upwards
)

// marker is a client for the writes that mark the begin and the end of a run.
func (t *trial) marker(id int) *actor { return t.actor(id, 0, false) }

// sentinel writes a mark into every top-level directory and returns the highest index, which is above everything acknowledged before.
func (t *trial) sentinel(ctx context.Context, m *actor, name string) (uint64, error) {
	begin := time.Now()
	var highest uint64
	for i := range segments {
		m.seen = max(t.rec.Highest(), highest)
		if t.opt.kind == procs.Etcd {
			m.seen = 0
		}
		op, err := insist(ctx, m, fmt.Sprintf("/dir%d/%s", i, name), heals-time.Since(begin))
		if err != nil {
			return 0, err
		}
		highest = max(highest, op.Index)
	}
	return highest, nil
}

// insist sets a key until a member acknowledges it, each time with a new value.
func insist(ctx context.Context, a *actor, key string, limit time.Duration) (*history.Op, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		op := a.do(ctx, &history.Op{Kind: history.Set, Key: key})
		if op.Outcome == history.OK {
			return op, nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return nil, fmt.Errorf("no write to %s was taken within %v: %s", key, limit, op.Err)
		}
	}
}

// verdict heals the cluster, reads what is there, and runs every check on what the load recorded.
func (t *trial) verdict(ctx context.Context, watchers []*watcher) error {
	if err := t.heal(ctx); err != nil {
		return t.notHealed(ctx, err)
	}
	m := t.marker(marks)
	defer m.close()
	if _, err := t.sentinel(ctx, m, "healed"); err != nil {
		return t.notHealed(ctx, err)
	}
	listings, err := t.listings(ctx)
	if err != nil {
		return t.notHealed(ctx, err)
	}
	upto, err := t.sentinel(ctx, m, "read")
	if err != nil {
		return t.notHealed(ctx, err)
	}
	t.replicas(ctx)
	sequences := t.sequences(ctx, watchers, upto)
	t.judge(listings, sequences, upto)
	return nil
}

// heal starts what does not run and lets go on what is paused.
func (t *trial) heal(ctx context.Context) error {
	for _, m := range t.cluster.Members {
		if m == t.stuck {
			continue
		}
		if !m.Running() {
			if err := m.Start(); err != nil {
				return err
			}
		}
		if err := m.Resume(); err != nil {
			return err
		}
	}
	return t.ready(ctx)
}

// listings reads the whole tree by quorum through every member.
func (t *trial) listings(ctx context.Context) ([]history.Listing, error) {
	var out []history.Listing
	for _, url := range t.urls() {
		c := api.NewClient(url, heals)
		at := t.rec.Clock.Now()
		l, err := c.List(ctx, "/", true)
		c.Close()
		if err != nil {
			return nil, fmt.Errorf("quorum listing through %s: %w", url, err)
		}
		l.At = at
		out = append(out, l)
	}
	return out, nil
}

// sequences waits for the watchers and returns what they were told, without those that have gaps.
func (t *trial) sequences(ctx context.Context, watchers []*watcher, upto uint64) []check.Sequence {
	ctx, cancel := context.WithTimeout(ctx, agrees)
	defer cancel()
	var out []check.Sequence
	for _, w := range watchers {
		err := w.reach(ctx, upto)
		s := w.sequence()
		t.rep.checked("events", len(s.Events))
		switch {
		case len(s.Gaps) > 0:
			t.rep.checked("401", len(s.Gaps))
			if t.opt.history {
				t.rep.violate(check.Violation{Check: "watch", Detail: "history cleared: " + s.Gaps[0]})
			}
		case err != nil:
			t.rep.violate(check.Violation{Check: "watch", Detail: err.Error()})
			out = append(out, s)
		default:
			out = append(out, s)
		}
	}
	return out
}

// judge runs the checks that need no cluster any more.
func (t *trial) judge(listings []history.Listing, sequences []check.Sequence, upto uint64) {
	t.listed, t.told = listings, sequences
	ops, order := t.rec.Ops(), check.OrderOf(t.opt.groups)
	t.rep.violate(check.Unique(ops)...)
	t.rep.violate(check.InOrderNames(ops, order)...)
	t.rep.violate(check.Connections(ops, order)...)
	t.rep.violate(check.OwnWrites(ops)...)
	for _, l := range listings {
		t.rep.violate(check.Durable(ops, l, everything)...)
		t.rep.checked("listed", len(l.Nodes))
	}
	t.enough(ops)
	if len(sequences) == 0 {
		t.linearizable(ops)
		t.rep.inconclusive("no watcher has a complete log")
		t.rep.violate(check.RealTime(ops, order)...)
		return
	}
	t.rep.violate(check.Sequences(sequences, upto)...)
	log := check.NewLog(sequences[0].Events)
	ops = log.Happened(log.Resolve(ops))
	t.linearizable(ops)
	t.rep.violate(check.RealTime(ops, order)...)
	t.rep.violate(log.Writes(ops)...)
	t.rep.violate(log.Chains(ops)...)
	if t.lockers != nil {
		t.lockers.judge(ops, log)
	}
	t.rep.violate(log.QuorumReads(ops, order)...)
	if t.roamers != nil {
		t.roamers.end()
		found, compared := log.Glimpses(t.roamers.glimpses)
		t.rep.violate(found...)
		t.rep.checked("glimpsed", compared)
		if compared == 0 {
			t.rep.inconclusive("no roaming watch was told of anything")
		}
	}
	for _, l := range listings {
		t.rep.violate(log.Listing(l, everything)...)
	}
}

func (t *trial) linearizable(ops []*history.Op) {
	found, conclusive := check.Linearizable(ops, searches)
	t.rep.violate(found...)
	if !conclusive {
		t.rep.inconclusive("no linearization was found or excluded within %v", searches)
	}
}

// The gates against runs that prove nothing.
const (
	fewest        = 20   // acknowledged operations a second
	tooManyUnsure = 0.20 // of all operations
)

func (t *trial) enough(ops []*history.Op) {
	ok, unknown := 0, 0
	for _, op := range ops {
		switch op.Outcome {
		case history.OK:
			ok++
		case history.Unknown:
			unknown++
		case history.Fail:
		}
	}
	if need := fewest * t.opt.duration.Seconds(); float64(ok) < need {
		t.rep.inconclusive("%d operations succeeded, fewer than %.0f", ok, need)
	}
	if float64(unknown) > tooManyUnsure*float64(len(ops)) {
		t.rep.inconclusive("%d of %d operations have an unknown outcome", unknown, len(ops))
	}
}
