package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func locksScenario() scenario {
	return scenario{
		name:     "locks",
		about:    "locks and elections with fencing, and lists that grow by compare-and-swap, while members die and holders stall",
		defaults: options{members: 3, groups: 4, duration: 40 * time.Second, faults: "kill,pause"},
		flags: func(f *flag.FlagSet, o *options) {
			f.StringVar(&o.faults, "faults", o.faults, "what is done to members in turn: kill, pause, stop, none, comma-separated")
			f.BoolVar(&o.unfenced, "unfenced", false, "what locks guard takes writes with any token; must fail")
			f.BoolVar(&o.blind, "blind", false, "lists are appended to without compare; must fail")
		},
		run: runLocks,
	}
}

// takesOver is how long a lock may be free after its holder's death, beside its time to live and the time without a leader.
const takesOver = 2 * time.Second

func runLocks(ctx context.Context, t *trial) error {
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, false)
	if err != nil {
		return err
	}
	l := t.startLocks(ctx)
	l.late = takesOver
	if t.opt.faults == "none" {
		err = pause(ctx, t.opt.duration)
	} else {
		err = t.torment(ctx, t.rec.Clock.Now()+t.opt.duration)
	}
	l.end()
	if err != nil {
		return err
	}
	return t.verdict(ctx, watchers)
}

const (
	locking    = 5000            // number of the first client of locks and lists
	locks      = 4               // of which every other is an election: who waits watches, and does not ask again and again
	contenders = 3               // for each
	lockTTL    = 2 * time.Second // of each
	lists      = 4
	appenders  = 2  // to each
	longList   = 60 // elements; then comes another list
)

// lockers are clients that hold locks, write to what these guard, stall, and die; and others that append to lists.
type lockers struct {
	t    *trial
	stop context.CancelFunc
	done sync.WaitGroup
	late time.Duration // bound of take-overs, 0 if they are only reported

	mu      sync.Mutex
	holds   []check.Hold
	newest  map[string]uint64 // tokens, by lock: what the fence outside the cluster knows
	fenced  []check.Fenced
	refused int // by that fence
	stalls  int
}

// startLocks starts them. The verdict judges what they did.
func (t *trial) startLocks(ctx context.Context) *lockers {
	ctx, stop := context.WithCancel(ctx)
	l := &lockers{t: t, stop: stop, newest: map[string]uint64{}}
	for i := range locks * contenders {
		a := t.actor(locking+i, i, i%contenders == 0)
		l.done.Go(func() {
			defer a.close()
			l.contend(ctx, a, i/contenders)
		})
	}
	for i := range lists * appenders {
		a := t.actor(locking+locks*contenders+i, i, false)
		l.done.Go(func() {
			defer a.close()
			l.appendTo(ctx, a, i/appenders)
		})
	}
	t.lockers = l
	t.cleanups = append(t.cleanups, l.end)
	return l
}

func (l *lockers) end() {
	l.stop()
	l.done.Wait()
}

func lockOf(n int) string     { return fmt.Sprintf("/lock%d/holder", n) }
func registerOf(n int) string { return fmt.Sprintf("/lock%d/register", n) }

// contend takes a lock whenever it can.
func (l *lockers) contend(ctx context.Context, a *actor, n int) {
	for ctx.Err() == nil {
		op := a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Create, Key: lockOf(n), TTL: int(lockTTL.Seconds())})
		switch {
		case op.Outcome == history.OK:
			l.hold(ctx, a, n, op)
		case op.Code == 105 && n%2 == 1:
			l.awaitFree(ctx, a, op)
			continue
		}
		_ = pause(ctx, between(a.rng, 80*time.Millisecond, 200*time.Millisecond))
	}
}

// awaitFree watches a lock until it changes, and not for long.
func (l *lockers) awaitFree(ctx context.Context, a *actor, op *history.Op) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if a.client == nil {
		_ = pause(ctx, 100*time.Millisecond)
		return
	}
	err := a.client.Watch(ctx, api.Watch{Key: op.Key, From: op.Header + 1}, nil, func(history.Event) bool { return false })
	if err != nil && ctx.Err() == nil {
		_ = pause(ctx, 100*time.Millisecond)
	}
}

// hold keeps a lock for some time, and writes to what it guards. Then it gives it back, or dies. Now and then the
// holder stalls for longer than the lock lives, and writes before it looks.
func (l *lockers) hold(ctx context.Context, a *actor, n int, got *history.Op) {
	h := check.Hold{Lock: got.Key, Holder: a.id, Token: got.Index, TTL: lockTTL, From: got.Return, Kept: got.Call, Tried: got.Return}
	kept := got
	stall := a.rng.IntN(3) == 0
	for round := range 1 + a.rng.IntN(6) {
		if stall && round == 1 {
			l.stalled()
			_ = pause(ctx, between(a.rng, lockTTL*3/2, lockTTL*5/2))
		}
		l.writeOutside(h.Lock, a.id, h.Token)
		l.writeInside(ctx, a, n, h.Token)
		_ = pause(ctx, lockTTL/4)
		op := a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.CAS, Key: h.Lock, PrevValue: kept.Value, TTL: got.TTL})
		h.Tried = l.t.rec.Clock.Now()
		if op.Outcome != history.OK {
			l.add(h) // it is another's, or may be
			return
		}
		kept, h.Kept = op, op.Call
	}
	if a.rng.IntN(3) > 0 {
		h.Ended = l.t.rec.Clock.Now()
		a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.CAD, Key: h.Lock, PrevValue: kept.Value})
	}
	l.add(h)
}

func (l *lockers) add(h check.Hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds = append(l.holds, h)
}

func (l *lockers) stalled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalls++
}

// writeOutside writes to what a lock guards and the cluster knows nothing of. It takes no token older than the newest it has seen.
func (l *lockers) writeOutside(lock string, holder int, token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token < l.newest[lock] && !l.t.opt.unfenced {
		l.refused++
		return
	}
	l.newest[lock] = max(l.newest[lock], token)
	l.fenced = append(l.fenced, check.Fenced{Lock: lock, Holder: holder, Token: token})
}

// writeInside writes to a register in the cluster, by compare-and-swap unless what was there has a newer token.
func (l *lockers) writeInside(ctx context.Context, a *actor, n int, token uint64) {
	ctx = context.WithoutCancel(ctx)
	read := a.do(ctx, &history.Op{Kind: history.QuorumGet, Key: registerOf(n)})
	if read.Outcome != history.OK {
		return
	}
	op := &history.Op{Kind: history.Create, Key: registerOf(n), Value: a.value() + "@" + strconv.FormatUint(token, 10)}
	if read.Found {
		_, text, _ := strings.Cut(read.Value, "@")
		if newest, err := strconv.ParseUint(text, 10, 64); (err != nil || newest > token) && !l.t.opt.unfenced {
			return
		}
		op.Kind, op.PrevValue, op.ByIndex = history.CAS, read.Value, read.Index
		if l.t.opt.unfenced {
			op.Kind, op.PrevValue, op.ByIndex = history.Set, "", 0
		}
	}
	a.do(ctx, op)
}

// appendTo appends to lists, one after the other.
func (l *lockers) appendTo(ctx context.Context, a *actor, n int) {
	for at := 0; ctx.Err() == nil; {
		key := fmt.Sprintf("/list%d/%d", n, at)
		read := a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.QuorumGet, Key: key})
		switch {
		case read.Outcome != history.OK:
		case strings.Count(read.Value, ",") >= longList:
			at++
			continue
		default:
			l.append(context.WithoutCancel(ctx), a, read)
		}
		_ = pause(ctx, between(a.rng, 50*time.Millisecond, 250*time.Millisecond))
	}
}

func (l *lockers) append(ctx context.Context, a *actor, read *history.Op) {
	op := &history.Op{Kind: history.Create, Key: read.Key}
	if read.Found {
		op.Kind, op.PrevValue, op.Value = history.CAS, read.Value, read.Value+","+a.value()
		if l.t.opt.blind {
			op.Kind, op.PrevValue = history.Set, ""
		}
	}
	a.do(ctx, op)
}

// judge runs the checks of locks and lists.
func (l *lockers) judge(ops []*history.Op, log *check.Log) {
	l.end()
	r := l.t.rep
	var all, registers []string
	for n := range locks {
		all, registers = append(all, lockOf(n)), append(registers, registerOf(n))
	}
	r.violate(check.Exclusion(l.holds, l.drift())...)
	r.violate(check.Fences(l.fenced)...)
	took, late := check.TakeOvers(l.holds, ops, l.drift(), l.late)
	if l.late > 0 {
		r.violate(late...)
	}
	r.checked("locks held", len(l.holds))
	r.checked("stalls of holders", l.stalls)
	r.checked("fenced off", l.refused)
	r.checked("take-overs", len(took))
	if len(took) > 0 {
		slices.Sort(took)
		r.figure("taken over after, median s", took[len(took)/2].Seconds())
		r.figure("taken over after, worst s", took[len(took)-1].Seconds())
	}
	r.violate(log.Locks(all, registers)...)
	elements, found := log.Appends(func(key string) bool { return strings.HasPrefix(key, "/list") })
	r.violate(found...)
	r.checked("appended", elements)
	if len(l.holds) == 0 || elements == 0 {
		r.inconclusive("no lock was held, or nothing was appended")
	}
}

// drift is by which part stopwatches of members may have been wrong.
func (l *lockers) drift() float64 {
	if l.t.opt.seam {
		return drift
	}
	return 0
}
