package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func litmusScenario() scenario {
	return scenario{
		name:     "litmus",
		about:    "small races: no lost wake-up, causality between clients, reading one's own writes",
		defaults: options{members: 3, groups: 4, duration: 60 * time.Second, rounds: 10000},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "rounds of each race, unless --duration is over before")
		},
		run: runLitmus,
	}
}

// racers play each race at the same time, each with keys of its own.
const racers = 4

// race is one little game. play is called again and again by one goroutine with the number of the round.
type race struct {
	name string
	play func(ctx context.Context, t *trial, r *racer, round int) error
}

// racer is one player: an actor for each of three members, and keys nobody else touches.
type racer struct {
	id     int
	actors []*actor
	writes []*history.Op // of wakeUp, acknowledged, in index order
}

// after is the racer's first write above an index.
func (r *racer) after(index uint64) *history.Op {
	i, _ := slices.BinarySearchFunc(r.writes, index+1, func(op *history.Op, want uint64) int { return cmp.Compare(op.Index, want) })
	if i == len(r.writes) {
		return nil
	}
	return r.writes[i]
}

func runLitmus(ctx context.Context, t *trial) error {
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, false)
	if err != nil {
		return err
	}
	races := []race{{"wake-up", wakeUp}, {"message", message}, {"own-write", ownWrite}}
	begin := t.rec.Clock.Now()
	for i, r := range races {
		end := begin + t.opt.duration*time.Duration(i+1)/time.Duration(len(races))
		if err := t.race(ctx, r, i, end); err != nil {
			return err
		}
	}
	return t.verdict(ctx, watchers)
}

// race plays one game from several racers until its rounds or its time are over.
func (t *trial) race(ctx context.Context, r race, number int, end time.Duration) error {
	var done sync.WaitGroup
	var rounds atomic.Int64
	errs := make([]error, racers)
	for i := range racers {
		p := &racer{id: i}
		for m := range 3 {
			a := t.actor(100*(number+1)+10*i+m, m+i, true)
			a.timeout = heals // without faults every request is answered in the end
			p.actors = append(p.actors, a)
		}
		done.Go(func() {
			for errs[i] == nil && ctx.Err() == nil && t.rec.Clock.Now() < end {
				n := rounds.Add(1)
				if n > int64(t.opt.rounds) {
					break
				}
				errs[i] = r.play(ctx, t, p, int(n))
			}
			for _, a := range p.actors {
				a.close()
			}
		})
	}
	done.Wait()
	played := min(int(rounds.Load()), t.opt.rounds)
	t.rep.checked(r.name+" rounds", played)
	t.say("%s: %d rounds", r.name, played)
	if played < t.opt.rounds/100 {
		t.rep.inconclusive("%s: only %d rounds", r.name, played)
	}
	return errors.Join(errs...)
}

var errNoAnswer = errors.New("a request without faults was not answered")

func must(op *history.Op) error {
	if op.Outcome != history.OK {
		return fmt.Errorf("%w: %s", errNoAnswer, op)
	}
	return nil
}

// wakes bounds the wait for an event that must come.
const wakes = 5 * time.Second

// wakeUp reads X-Etcd-Index n from one member and watches from n+1 on another, while a third writes. The next write
// must come, whatever came first (MR-5).
func wakeUp(ctx context.Context, t *trial, r *racer, round int) error {
	reader, watcher, writer := r.actors[0], r.actors[1], r.actors[2]
	key := fmt.Sprintf("/wake%d/key", r.id)
	written := make(chan error, 1)
	delay := time.Duration(reader.rng.IntN(1500)) * time.Microsecond
	go func() {
		_ = pause(ctx, delay)
		written <- r.write(ctx, writer, key)
	}()
	read := reader.do(ctx, &history.Op{Kind: history.Get, Key: key})
	if err := must(read); err != nil {
		return errors.Join(err, <-written)
	}
	var got history.Event
	var watched error
	var done sync.WaitGroup
	done.Go(func() { got, watched = next(ctx, watcher, key, read.Header+1) })
	err := <-written
	if err == nil && r.after(read.Header) == nil {
		err = r.write(ctx, writer, key) // the read had seen the first
	}
	done.Wait()
	if err != nil {
		return err
	}
	want := r.after(read.Header)
	if watched != nil || got.Index != want.Index || got.Value != want.Value {
		t.rep.violate(check.Violation{Check: "wake-up", Detail: fmt.Sprintf("round %d: watch of %s from %d on %s told %s (%v); the next write was %d",
			round, key, read.Header+1, watcher.roster.url(watcher.at), &got, watched, want.Index), Evidence: []string{read.String(), want.String()}})
	}
	return nil
}

func (r *racer) write(ctx context.Context, a *actor, key string) error {
	op := a.do(ctx, &history.Op{Kind: history.Set, Key: key})
	if op.Outcome == history.OK {
		r.writes = append(r.writes, op)
	}
	return must(op)
}

// next is the first event of key from index on, as the actor's member tells it.
func next(ctx context.Context, a *actor, key string, from uint64) (history.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, wakes)
	defer cancel()
	if a.client == nil {
		a.client = api.NewClient(a.roster.url(a.at), a.timeout)
	}
	var got history.Event
	err := a.client.Watch(ctx, api.Watch{Key: key, From: from}, nil, func(e history.Event) bool { got = e; return true })
	if err == nil && got.Index == 0 {
		err = errors.New("ended without an event")
	}
	return got, err
}

// message writes x through one member, has a second client read it on another member and, knowing the index it
// saw, write y in another directory through a third. Then y must come after x in index order (MR-13); that every watcher of the whole
// tree is told x before y follows from the order of its events, which the verdict checks.
func message(ctx context.Context, t *trial, r *racer, round int) error {
	sender, reader, replier := r.actors[0], r.actors[1], r.actors[2]
	x := sender.do(ctx, &history.Op{Kind: history.Set, Key: fmt.Sprintf("/send%d/%d", r.id, round%directories)})
	if err := must(x); err != nil {
		return err
	}
	var seen *history.Op
	for end := time.Now().Add(wakes); ; {
		seen = reader.do(ctx, &history.Op{Kind: history.Get, Key: x.Key})
		if err := must(seen); err != nil {
			return err
		}
		if seen.Value == x.Value {
			break
		}
		if time.Now().After(end) {
			t.rep.violate(check.Violation{Check: "message", Detail: "a member did not show a write in time", Evidence: []string{x.String(), seen.String()}})
			return nil
		}
	}
	if t.opt.groups > 1 {
		replier.seen = seen.Header
	}
	y := replier.do(ctx, &history.Op{Kind: history.Set, Key: fmt.Sprintf("/reply%d-%d/key", r.id, round%directories)})
	if err := must(y); err != nil {
		return err
	}
	if y.Index <= x.Index {
		t.rep.violate(check.Violation{Check: "message", Detail: "an answer has a lower index than what it answers", Evidence: []string{x.String(), seen.String(), y.String()}})
	}
	return nil
}

// ownWrite writes through a member and reads there at once; the verdict's own-writes check judges.
func ownWrite(ctx context.Context, _ *trial, r *racer, round int) error {
	a := r.actors[round%len(r.actors)]
	w := a.do(ctx, &history.Op{Kind: history.Set, Key: fmt.Sprintf("/own%d-%d/key", r.id, round%directories)})
	if err := must(w); err != nil {
		return err
	}
	return must(a.do(ctx, &history.Op{Kind: history.Get, Key: w.Key, AtLeast: w.Index}))
}
