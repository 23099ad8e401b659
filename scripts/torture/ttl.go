package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func ttlScenario() scenario {
	return scenario{
		name:     "ttl",
		about:    "keys with a time to live expire once, never early and hardly late",
		defaults: options{members: 3, groups: 1, keys: 1000, duration: 10 * time.Second, seam: true},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.keys, "keys", o.keys, "keys with a time to live of 1 s up to --duration")
			f.BoolVar(&o.killLeader, "kill-leader", false, "the same as --change kill")
			f.StringVar(&o.change, "change", "", "how the lead is taken from the leader while keys wait to expire: kill, pause, transfer")
			f.StringVar(&o.clock, "clock", "", "how clocks are wrong, of those who lead or of the others: ahead, behind, strobe, skewed (wall clocks); fast, slow, uneven (stopwatches); wrong must fail")
		},
		run: runTTL,
	}
}

const (
	// tolerated is how late an expiry may come while there is a leader.
	tolerated = time.Second
	// setters put keys at the same time.
	setters = 8
)

func runTTL(ctx context.Context, t *trial) error {
	if t.opt.killLeader {
		t.opt.change = "kill"
	}
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	leader, err := t.cluster.Leader(ctx, t.opt.kind)
	if err != nil {
		return err
	}
	// The clock that judges is one watch of a member that lives through the run.
	survivor := t.cluster.Members[(leader.ID+1)%t.opt.members]
	watcher, err := t.liveWatch(ctx, survivor)
	if err != nil {
		return err
	}
	probe := t.startProbe(ctx, survivor)
	// Some keys are put before the clocks are wrong, and some after.
	leases, err := t.grant(ctx, survivor, 0, t.opt.keys/2)
	if err != nil {
		return err
	}
	drift, err := t.spoilClocks(ctx, leader)
	if err != nil {
		return err
	}
	more, err := t.grant(ctx, survivor, t.opt.keys/2, t.opt.keys)
	if err != nil {
		return err
	}
	refreshing := t.startRefreshing(ctx, survivor)
	moved, err := t.changeLeader(ctx, leader)
	if err != nil {
		return err
	}
	if err := pause(ctx, t.opt.duration/2); err != nil {
		return err
	}
	fresh, err := refreshing()
	if err != nil {
		return err
	}
	leases = slices.Concat(leases, more, fresh)
	if err := t.awaitExpiry(ctx, watcher, leases); err != nil {
		return err
	}
	bounds := check.Bounds{Late: tolerated + time.Duration(moved)*changeCosts, Drift: drift}
	t.judgeLeases(leases, watcher.sequence(), probe(), bounds)
	return nil
}

// judgeLeases checks the expirations. While there was no leader nothing could expire.
func (t *trial) judgeLeases(leases []check.Lease, seq check.Sequence, leaderless time.Duration, b check.Bounds) {
	t.rep.figure("time without a leader s", leaderless.Seconds())
	b.Late += leaderless
	t.rep.violate(check.Sequences([]check.Sequence{seq}, 0)...)
	t.rep.violate(check.Expiry(leases, seq, b)...)
	t.rep.checked("leases", len(leases))
	for _, l := range leases {
		t.rep.checked("refreshes", l.Refreshed)
		if l.Gone > 0 {
			t.rep.checked("refreshes too late", 1)
		}
	}
	t.lateness(leases, seq)
}

// liveWatch starts a watch of the whole tree and waits until it was accepted. With etcd it is a chain of long polls: a stream there goes
// dead when more than 100 keys expire at once, and cannot resume (contract §2.4).
func (t *trial) liveWatch(ctx context.Context, m *procs.Member) (*watcher, error) {
	w := t.startWatcher(ctx, watchSpec{member: m.ID, pinned: true, stream: t.opt.kind == procs.Witan})
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		w.mu.Lock()
		ups := w.ups
		w.mu.Unlock()
		if ups > 0 {
			return w, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, fmt.Errorf("the watch was not accepted: %w", err)
		}
	}
}

// gap is what counts as time without a leader between two acknowledgements of a probe.
const gap = 150 * time.Millisecond

// startProbe writes to every group all the time, and later tells how long the group that had it worst was without a leader in all.
func (t *trial) startProbe(ctx context.Context, m *procs.Member) func() time.Duration {
	ctx, stop := context.WithCancel(ctx)
	without := make([]time.Duration, t.opt.groups)
	var done sync.WaitGroup
	for g := range t.opt.groups {
		a := t.actor(prober+g, m.ID, true)
		a.timeout = hasty
		done.Go(func() {
			defer a.close()
			last := t.rec.Clock.Now()
			acknowledged := func(at time.Duration) {
				if at-last > gap {
					without[g] += at - last
				}
				last = at
			}
			for ctx.Err() == nil {
				op := a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Set, Key: homeOf(g) + "/probe"})
				if op.Outcome == history.OK {
					acknowledged(op.Return)
				}
				_ = pause(ctx, 20*time.Millisecond)
			}
			acknowledged(t.rec.Clock.Now())
		})
	}
	return func() time.Duration { stop(); done.Wait(); return slices.Max(without) }
}

// grant puts the keys of these numbers, spread over many top-level directories, and returns what was acknowledged.
func (t *trial) grant(ctx context.Context, m *procs.Member, from, to int) ([]check.Lease, error) {
	leases := make([]check.Lease, to-from)
	errs := make([]error, setters)
	var done sync.WaitGroup
	for s := range setters {
		done.Go(func() {
			c := api.NewClient(m.Client, settle)
			defer c.Close()
			for i := s; i < len(leases) && errs[s] == nil; i += setters {
				leases[i], errs[s] = t.lease(ctx, c, from+i)
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return leases, nil
}

// lease puts the i-th key. Every write must succeed: keys are put before the first fault.
func (t *trial) lease(ctx context.Context, c *api.Client, i int) (check.Lease, error) {
	seconds := 1 + i%int(t.opt.duration.Seconds())
	l := check.Lease{Key: fmt.Sprintf("/lease%d/%d", i%16, i), TTL: time.Duration(seconds) * time.Second}
	l.Call = t.rec.Clock.Now()
	a, err := c.Do(ctx, api.Request{Method: http.MethodPut, Key: l.Key, Form: url.Values{"ttl": {strconv.Itoa(seconds)}, "value": {strconv.Itoa(i)}}})
	l.Return = t.rec.Clock.Now()
	if err != nil || api.Outcome(a, err) != history.OK {
		return l, fmt.Errorf("put %s: status %d, error %d: %w", l.Key, a.Status, a.Code, err)
	}
	return l, nil
}

// awaitExpiry waits until as many expirations were seen as there are keys and a while longer, for those that come twice.
func (t *trial) awaitExpiry(ctx context.Context, w *watcher, leases []check.Lease) error {
	deadline := t.rec.Clock.Now() + t.opt.duration + settle/2
	for t.rec.Clock.Now() < deadline {
		seen := 0
		for _, e := range w.sequence().Events {
			if e.Action == "expire" {
				seen++
			}
		}
		if seen >= len(leases) {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second)
}

// lateness reports how late keys expired, all of them and by time to live: a clock that loses time shows in the longest.
func (t *trial) lateness(leases []check.Lease, seq check.Sequence) {
	of := map[string]check.Lease{}
	for _, l := range leases {
		of[l.Key] = l
	}
	late := map[time.Duration][]time.Duration{} // by TTL, 0 is all
	var longest time.Duration
	for _, e := range seq.Events {
		if l, ok := of[e.Key]; ok && e.Action == "expire" {
			by := e.At - l.Return - l.TTL
			late[0], late[l.TTL] = append(late[0], by), append(late[l.TTL], by)
			longest = max(longest, l.TTL)
		}
	}
	if longest == 0 {
		return
	}
	for _, l := range late {
		slices.Sort(l)
	}
	all, short, long := late[0], late[time.Second], late[longest]
	t.rep.figure("late median s", all[len(all)/2].Seconds())
	t.rep.figure("late p99 s", all[len(all)*99/100].Seconds())
	t.rep.figure("late worst s", all[len(all)-1].Seconds())
	if len(short) > 0 {
		t.rep.figure("late median of ttl 1 s", short[len(short)/2].Seconds())
	}
	t.rep.figure(fmt.Sprintf("late median of ttl %.0f s", longest.Seconds()), long[len(long)/2].Seconds())
}
