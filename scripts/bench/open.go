package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// openSample is the latency of a server at a rate that is well below what it
// can do. It is counted from when a request was due, so that what waits behind
// a slow answer counts as well.
type openSample struct {
	Request string `json:"request"`
	turn
	Wanted  float64 `json:"wanted"` // requests a second
	Rate    float64 `json:"rate"`   // that were answered
	Refused int     `json:"refused"`
	latencies
	costs
}

// openRequests are measured at half of the peak.
func openRequests() []workload {
	return []workload{
		{name: "PUT", cycle: []shape{putKey()}},
		{name: "GET", cycle: []shape{getKey()}},
	}
}

// runOpen finds the peak of each product and measures all at half of the
// lowest.
func (s *session) runOpen(ctx context.Context) error {
	return s.withTargets(ctx, s.stores(), s.base(), func(targets []*target) error {
		for _, t := range targets {
			if err := t.fill(ctx, presetKeys); err != nil {
				return err
			}
		}
		for _, w := range openRequests() {
			if err := s.runOpenWith(ctx, targets, w); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) runOpenWith(ctx context.Context, targets []*target, w workload) error {
	p := s.pace(false)
	peak := math.Inf(1)
	err := inTurn(s, openName+", peak of "+w.name, 1, targets, func(t *target, round int) error {
		sample, err := t.load(ctx, w, usualConnections, p, round)
		peak = min(peak, sample.Rate)
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %.0f %s a second", openName, peak/2, w.name)
	return inTurn(s, what, p.rounds, targets, func(t *target, round int) error {
		sample, err := t.open(ctx, w, peak/2, p, round)
		if err != nil {
			return err
		}
		return keep(s, &s.found.open, "open", sample)
	})
}

// open sends w at the given rate, requests a second.
func (t *target) open(ctx context.Context, w workload, rate float64, p pace, round int) (sample openSample, err error) {
	cs, err := t.dialFor(ctx, w, usualConnections, round)
	if err != nil {
		return sample, err
	}
	defer cs.close()
	if _, err := cs.runOpen(ctx, rate, p.warmUp); err != nil {
		return sample, err
	}
	before, err := t.meter()
	if err != nil {
		return sample, err
	}
	out, err := cs.runOpen(ctx, rate, p.duration)
	if err != nil {
		return sample, err
	}
	after, err := t.meter()
	return openSample{
		Request: w.name, turn: turn{t.product.name, round}, Wanted: rate,
		Rate: float64(out.latency.total) / out.elapsed.Seconds(), Refused: out.refused,
		latencies: out.latency.latencies(),
		costs:     after.since(before).costs(out.latency.total, out.elapsed),
	}, err
}

// schedule says when requests are due.
type schedule struct {
	start time.Time
	rate  float64 // a second
}

// due returns when request n is due, counted from 0.
func (s schedule) due(n int) time.Time {
	return s.start.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
}

// count returns how many requests are due before d has passed.
func (s schedule) count(d time.Duration) int { return int(math.Ceil(d.Seconds() * s.rate)) }

// lane is a connection that one goroutine sends over and another reads from.
type lane struct {
	*client
	sent chan time.Time // when the request that was just sent was due
}

// runOpen sends requests at the given rate for so long, each over a connection
// that is free, or over the first that becomes free.
func (cs clients) runOpen(ctx context.Context, rate float64, d time.Duration) (outcome, error) {
	stop := context.AfterFunc(ctx, cs.close)
	defer stop()
	s := schedule{start: time.Now(), rate: rate}
	free := make(chan *lane, len(cs))
	errs := make([]error, len(cs))
	var lanes []*lane
	var wg sync.WaitGroup
	for i, c := range cs {
		c.forget()
		errs[i] = c.conn.SetDeadline(s.start.Add(d + requestTimeout))
		l := &lane{client: c, sent: make(chan time.Time, 1)}
		lanes = append(lanes, l)
		free <- l
		wg.Go(func() { errs[i] = errors.Join(errs[i], l.receive(free)) })
	}
	err := s.send(free, s.count(d))
	for _, l := range lanes {
		close(l.sent)
	}
	wg.Wait()
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	return cs.outcome(time.Since(s.start)), errors.Join(append(errs, err)...)
}

// send sends n requests when they are due.
func (s schedule) send(free <-chan *lane, n int) error {
	for i := range n {
		due := s.due(i)
		sleepPrecisely(time.Until(due))
		l := <-free
		r, _ := l.next() // there is always more
		if _, err := l.conn.Write(r.bytes); err != nil {
			return err
		}
		l.sent <- due
	}
	return nil
}

// receive reads an answer to each request that was sent. After an error it
// reads nothing more: the sender will run into it.
func (l *lane) receive(free chan<- *lane) (err error) {
	for due := range l.sent {
		var status int
		if err == nil {
			status, err = l.answers.next()
		}
		if err == nil {
			l.count(status, time.Since(due))
		}
		free <- l
	}
	return err
}
