package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// fanOutKind is a way to tell many watchers of writes. All watchers are
// waiting when the keys are written, each key once; when all of them have got
// their event and are waiting again, it begins anew.
type fanOutKind struct {
	name, about string
	perKey      bool // each watcher has a key of its own, else all have one
	stream      bool
	scaled      bool // with all numbers of watchers
}

func fanOuts() []fanOutKind {
	return []fanOutKind{
		{name: watchOne, scaled: true, about: "Long polls on one key, each asked again at once"},
		{name: watchMany, perKey: true, about: "Long polls, each on a key of its own, written over 64 connections"},
		{name: streamName, stream: true, about: "Streams on one key"},
	}
}

// watchSample is one measurement of a server under a fan-out.
type watchSample struct {
	Workload string `json:"workload"`
	Watchers int    `json:"watchers"`
	turn
	Deliveries uint64  `json:"deliveries"`
	Rate       float64 `json:"rate"` // deliveries a second
	latencies          // from sending the write to having the event
	costs              // for each delivery, with its share of the write and the next long poll
}

// runFanOut measures all products under k.
func (s *session) runFanOut(ctx context.Context, k fanOutKind) error {
	counts := []int{usual(s.watchers, usualWatchers)}
	if k.scaled {
		counts = s.watchers
	}
	return s.withTargets(ctx, s.stores(), s.base(), func(targets []*target) error {
		for _, n := range counts {
			what := fmt.Sprintf("%s, %d watchers", k.name, n)
			p := s.pace(false)
			err := inTurn(s, what, p.rounds, targets, func(t *target, round int) error {
				sample, err := t.fanOut(ctx, k, n, p)
				if err != nil {
					return err
				}
				sample.Round = round
				return keep(s, &s.found.watches, "watch", sample)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// fanOut drives n watchers of t and measures it under them.
func (t *target) fanOut(ctx context.Context, k fanOutKind, n int, p pace) (sample watchSample, err error) {
	f, err := t.newFanOut(ctx, k, n)
	if err != nil {
		return sample, err
	}
	defer f.close()
	if err := f.run(ctx, time.Now().Add(p.warmUp), 1); err != nil {
		return sample, err
	}
	f.latency = histogram{}
	before, err := t.meter()
	if err != nil {
		return sample, err
	}
	started := time.Now()
	if err := f.run(ctx, started.Add(p.duration), leastWrites); err != nil {
		return sample, err
	}
	elapsed := time.Since(started)
	after, err := t.meter()
	if err != nil {
		return sample, err
	}
	return watchSample{
		Workload: k.name, Watchers: n, turn: turn{Server: t.product.name},
		Deliveries: f.latency.total,
		Rate:       float64(f.latency.total) / elapsed.Seconds(),
		latencies:  f.latency.latencies(),
		costs:      after.since(before).costs(f.latency.total, elapsed),
	}, nil
}

// fanOut is the watchers of a target and those who write for them.
type fanOut struct {
	kind     fanOutKind
	watchers []*watcher
	writers  clients
	keys     int // numbered from 0; watcher i watches key i mod keys
	started  time.Time
	latency  histogram

	// sent[k] is when key k was written, arrived[i] when watcher i had its
	// event, both counted from started. They are read when all have arrived.
	sent, arrived []time.Duration

	pending atomic.Int64  // how many watchers are not waiting yet
	all     chan struct{} // has one element when pending has become 0
	failed  chan error    // what ended a watcher
	wg      sync.WaitGroup
}

// newFanOut connects n watchers and waits until all are heard.
func (t *target) newFanOut(ctx context.Context, k fanOutKind, n int) (f *fanOut, err error) {
	f = &fanOut{
		kind: k, keys: 1, started: time.Now(), arrived: make([]time.Duration, n),
		all: make(chan struct{}, 1), failed: make(chan error, n),
	}
	if k.perKey {
		f.keys = n
	}
	f.sent = make([]time.Duration, f.keys)
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	writers := min(f.keys, usualConnections)
	if f.writers, err = dialAll(ctx, t.addrs(), writers); err != nil {
		return f, err
	}
	f.writers.prepare([]shape{putKey()}, true, t.setUp.ValueSize, func(int) picker { return always(0) })
	if f.watchers, err = dialWatchers(ctx, t.addrs(), n, f.keys, k.stream); err != nil {
		return f, err
	}
	f.pending.Store(int64(n))
	for i, w := range f.watchers {
		f.wg.Go(func() { f.failed <- w.run(f, i) })
	}
	return f, f.wait(ctx)
}

// close ends all connections and waits until the watchers have noticed.
func (f *fanOut) close() {
	f.writers.close()
	closeWatchers(f.watchers)
	f.wg.Wait()
}

// leastWrites is how often the keys are written in a measurement, however long
// that takes.
const leastWrites = 3

// run has the keys written again and again, at least so often and until the
// given time.
func (f *fanOut) run(ctx context.Context, until time.Time, least int) error {
	for n := 0; n < least || time.Now().Before(until); n++ {
		f.pending.Store(int64(len(f.watchers)))
		if err := f.write(); err != nil {
			return err
		}
		if err := f.wait(ctx); err != nil {
			return err
		}
		for i, arrived := range f.arrived {
			f.latency.add(arrived - f.sent[i%f.keys])
		}
	}
	return nil
}

// write writes every key once.
func (f *fanOut) write() error {
	errs := make([]error, len(f.writers))
	var wg sync.WaitGroup
	for i, c := range f.writers {
		wg.Go(func() {
			errs[i] = c.conn.SetDeadline(time.Now().Add(requestTimeout))
			for k := i; k < f.keys && errs[i] == nil; k += len(f.writers) {
				r := c.cycle[0]
				r.setKey(uint64(k))
				f.sent[k] = time.Since(f.started)
				var status int
				if status, errs[i] = c.do(r); errs[i] == nil && status/100 != 2 {
					errs[i] = fmt.Errorf("a write was answered with status %d", status)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ready says that one more watcher is waiting.
func (f *fanOut) ready() {
	if f.pending.Add(-1) == 0 {
		f.all <- struct{}{}
	}
}

// wait returns when all watchers are waiting.
func (f *fanOut) wait(ctx context.Context) error {
	select {
	case <-f.all:
		return nil
	case err := <-f.failed:
		return fmt.Errorf("watcher: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(requestTimeout):
		return fmt.Errorf("%d of %d watchers have not got their event", f.pending.Load(), len(f.watchers))
	}
}

// watcher is one connection that waits for events of one key.
type watcher struct {
	conn    net.Conn
	answers *responses
	request request
}

// watcherBuffer is enough for the head of an answer and a short event, bytes.
const watcherBuffer = 2 << 10

// dialWatchers connects n watchers, watcher i for key i mod keys.
func dialWatchers(ctx context.Context, addrs []string, n, keys int, stream bool) (list []*watcher, err error) {
	s := shape{method: "GET", path: keyPath + "?wait=true&waitIndex={i}"}
	if stream {
		s.path = keyPath + "?wait=true&stream=true"
	}
	for i := range n {
		addr := addrs[i%len(addrs)]
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			closeWatchers(list)
			return nil, err
		}
		w := &watcher{
			conn:    conn,
			answers: &responses{from: conn, buf: make([]byte, watcherBuffer)},
			request: s.requestTo(addr, 0),
		}
		w.request.setKey(uint64(i % keys))
		list = append(list, w)
	}
	return list, nil
}

func closeWatchers(list []*watcher) {
	for _, w := range list {
		_ = w.conn.Close() // it has done its duty
	}
}

// run waits for one event after the other until the connection ends.
func (w *watcher) run(f *fanOut, i int) error {
	if err := w.ask(); err != nil {
		return err
	}
	f.ready()
	for {
		event, err := w.answers.nextEvent()
		if err != nil {
			return err
		}
		f.arrived[i] = time.Since(f.started)
		if !f.kind.stream {
			if err := w.again(event); err != nil {
				return err
			}
		}
		f.ready()
	}
}

// ask sends the request and returns when the server has accepted it.
func (w *watcher) ask() error {
	if _, err := w.conn.Write(w.request.bytes); err != nil {
		return err
	}
	return w.answers.open()
}

// again asks for what comes after event.
func (w *watcher) again(event []byte) error {
	index, err := modifiedIndex(event)
	if err != nil {
		return err
	}
	if err := w.answers.drain(); err != nil {
		return err
	}
	w.request.setIndex(index + 1)
	return w.ask()
}

// watcherSample is what a server holds for those who wait.
type watcherSample struct {
	turn
	Watchers int    `json:"watchers"`
	Before   memory `json:"before"`
	After    memory `json:"after"`
}

// each is the memory for one watcher, bytes.
func (s watcherSample) each() float64 {
	return float64(s.After.RSS-s.Before.RSS) / float64(s.Watchers)
}

// runWatchIdle weighs watchers for whom nothing happens. Servers are fresh
// each time, for they do not give back what they once had.
func (s *session) runWatchIdle(ctx context.Context) error {
	most := 0
	for _, n := range s.watchers {
		most = max(most, n)
	}
	rounds := s.pace(false).rounds
	for round := range rounds {
		for _, p := range s.stores() {
			s.say("%s of %s, round %d of %d", watchIdle, p.name, round+1, rounds)
			err := s.withTargets(ctx, []product{p}, s.base(), func(targets []*target) error {
				sample, err := targets[0].weighWatchers(ctx, most)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				sample.Round = round
				return keep(s, &s.found.watchers, "watchers", sample)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// weighWatchers connects n watchers, each for a key of its own.
func (t *target) weighWatchers(ctx context.Context, n int) (sample watcherSample, err error) {
	sample = watcherSample{turn: turn{Server: t.product.name}, Watchers: n}
	if err := t.fill(ctx, presetKeys); err != nil {
		return sample, err
	}
	if err := pause(ctx, settle); err != nil {
		return sample, err
	}
	if sample.Before, err = t.memory(); err != nil {
		return sample, err
	}
	list, err := dialWatchers(ctx, t.addrs(), n, n, false)
	if err != nil {
		return sample, err
	}
	defer closeWatchers(list)
	for _, w := range list {
		if err := errors.Join(w.conn.SetDeadline(time.Now().Add(requestTimeout)), w.ask()); err != nil {
			return sample, fmt.Errorf("watcher: %w", err)
		}
	}
	if err := pause(ctx, settle); err != nil {
		return sample, err
	}
	sample.After, err = t.memory()
	return sample, err
}
