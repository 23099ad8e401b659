package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// roamers make short watches of anything, from any index around the present one, through any member: they resume where another watch was cut,
// ask for the past and for the future, and some read slowly.
type roamers struct {
	t    *trial
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	glimpses []check.Glimpse
}

const (
	roaming = 6   // how many roamers there are, of which one is slow
	around  = 100 // indexes before and after the present one
)

// startRoamers starts roamers, whose watches the verdict will judge.
func (t *trial) startRoamers(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	r := &roamers{t: t, stop: stop}
	for i := range roaming {
		r.done.Go(func() { r.roam(ctx, i) })
	}
	t.roamers = r
	t.cleanups = append(t.cleanups, r.end)
}

// end ends the roamers. Their glimpses are whole afterwards.
func (r *roamers) end() {
	r.stop()
	r.done.Wait()
}

func (r *roamers) roam(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(r.t.opt.seed, 1<<35+uint64(id))) //nolint:gosec // must be repeatable
	var resume *check.Glimpse                                    // goes on behind what was told before
	for ctx.Err() == nil {
		g := r.draw(rng)
		if resume != nil && rng.IntN(2) == 0 {
			g = check.Glimpse{Key: resume.Key, Recursive: resume.Recursive, From: resume.Events[len(resume.Events)-1].Index + 1}
		}
		resume = r.watch(ctx, rng, id, g)
	}
}

// draw decides what to watch.
func (r *roamers) draw(rng *rand.Rand) check.Glimpse {
	g := check.Glimpse{Key: fmt.Sprintf("/dir%d", rng.IntN(segments)), Recursive: true}
	switch rng.IntN(6) {
	case 0:
		g.Key = "/"
	case 1:
		g.Key = fmt.Sprintf("/queue%d/in", rng.IntN(queues))
	case 2:
		g.Key, g.Recursive = fmt.Sprintf("/dir%d/g0-%d", rng.IntN(segments), rng.IntN(perDir)), false
	}
	if highest := r.t.rec.Highest(); rng.IntN(5) > 0 {
		g.From = max(around+1, highest+uint64(rng.IntN(2*around))) - around
	}
	return g
}

// watch makes one watch through a member and keeps what it was told. It returns it if there is something to resume behind.
func (r *roamers) watch(ctx context.Context, rng *rand.Rand, id int, g check.Glimpse) *check.Glimpse {
	at := r.t.roster.after(rng.IntN(r.t.roster.len()))
	// etcd's streams replay one event of the past only (contract §2.4).
	w := api.Watch{Key: g.Key, From: g.From, Recursive: g.Recursive, Stream: r.t.opt.kind == procs.Witan && rng.IntN(3) > 0}
	g.Watcher = fmt.Sprintf("roamer %d@m%d", id, at)
	most, slow := 1+rng.IntN(2*around), id == 0
	c := api.NewClient(r.t.roster.url(at), time.Second)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, between(rng, 200*time.Millisecond, 4*time.Second))
	defer cancel()
	_ = c.Watch(ctx, w, func(index uint64) { g.Accepted = index }, func(e history.Event) bool {
		g.Events = append(g.Events, e)
		if slow {
			_ = pause(ctx, 50*time.Millisecond)
		}
		return len(g.Events) < most
	})
	if len(g.Events) == 0 {
		_ = pause(ctx, 20*time.Millisecond)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.glimpses = append(r.glimpses, g)
	return &g
}
