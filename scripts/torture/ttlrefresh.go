package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

const (
	refreshed    = 32          // keys that are refreshed at about the time they expire
	refreshTTL   = time.Second // theirs
	refreshAfter = 1100        // ms after which they are, give or take
	giveOrTake   = 200         // ms
)

// startRefreshing puts keys and refreshes each at about the time when it expires, until it has. The returned function ends that and tells
// what the last refresh that counts was (TTL-5).
func (t *trial) startRefreshing(ctx context.Context, m *procs.Member) func() ([]check.Lease, error) {
	ctx, stop := context.WithCancel(ctx)
	leases, errs := make([]check.Lease, refreshed), make([]error, refreshed)
	var done sync.WaitGroup
	for i := range refreshed {
		done.Go(func() { leases[i], errs[i] = t.refresh(ctx, m, i) })
	}
	return func() ([]check.Lease, error) {
		stop()
		done.Wait()
		for _, err := range errs {
			if err != nil {
				return nil, err
			}
		}
		return leases, nil
	}
}

func (t *trial) refresh(ctx context.Context, m *procs.Member, i int) (check.Lease, error) {
	rng := rand.New(rand.NewPCG(t.opt.seed, 1<<36+uint64(i))) //nolint:gosec // must be repeatable
	c := api.NewClient(m.Client, patience)
	defer c.Close()
	l := check.Lease{Key: fmt.Sprintf("/lease%d/refreshed%d", i%16, i), TTL: refreshTTL, Call: t.rec.Clock.Now()}
	a, err := c.Do(ctx, api.Request{Method: http.MethodPut, Key: l.Key, Form: url.Values{"ttl": {"1"}, "value": {"x"}}})
	l.Return = t.rec.Clock.Now()
	if err != nil || api.Outcome(a, err) != history.OK {
		return l, fmt.Errorf("put %s: status %d: %w", l.Key, a.Status, err)
	}
	for pause(ctx, time.Duration(refreshAfter-giveOrTake+rng.IntN(2*giveOrTake))*time.Millisecond) == nil {
		call := t.rec.Clock.Now()
		a, err := c.Do(context.WithoutCancel(ctx), api.Request{
			Method: http.MethodPut, Key: l.Key, Form: url.Values{"ttl": {"1"}, "refresh": {"true"}, "prevExist": {"true"}},
		})
		switch api.Outcome(a, err) {
		case history.OK:
			l.Call, l.Return, l.Refreshed = call, t.rec.Clock.Now(), l.Refreshed+1
		case history.Unknown:
			l.Return = t.rec.Clock.Now() + patience // it may still be done
		case history.Fail:
			if err == nil {
				l.Gone = a.Index
				return l, nil
			}
		}
	}
	return l, nil
}
