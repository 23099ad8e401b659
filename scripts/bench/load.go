package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// setUp is what a measurement is made with, beside the workload.
type setUp struct {
	Members   int `json:"members"`
	Groups    int `json:"groups"`     // of witan
	ValueSize int `json:"value_size"` // bytes
}

// loadSample is one measurement of a server under one workload.
type loadSample struct {
	Workload    string `json:"workload"`
	Connections int    `json:"connections"`
	setUp
	turn
	Requests uint64  `json:"requests"` // with a status of 200 to 299
	Refused  int     `json:"refused"`  // with another status
	Rate     float64 `json:"rate"`     // requests a second
	latencies
	costs
	Memory memory `json:"memory"` // of all members, right after the load
}

// latencies are quantiles, µs.
type latencies struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

func (h *histogram) latencies() latencies {
	return latencies{
		P50:  microseconds(h.quantile(0.5)),
		P99:  microseconds(h.quantile(0.99)),
		P999: microseconds(h.quantile(0.999)),
	}
}

// costs are what something took of the machine's CPUs.
type costs struct {
	CPU       float64 `json:"cpu_us"`        // of all members, for each request or delivery
	ClientCPU float64 `json:"client_cpu_us"` // of this program, likewise
	Others    float64 `json:"others"`        // share of the machine that other processes took, 0 to 1
	Stolen    float64 `json:"stolen"`        // share of the machine that its host withheld, 0 to 1
}

// meter reads the CPU times that a measurement is reckoned from.
type meter struct {
	servers, client time.Duration
	machine         machineTimes
}

func (c *cluster) meter() (m meter, err error) {
	if m.servers, err = c.cpu(); err != nil {
		return m, err
	}
	if m.client, err = processCPU(os.Getpid()); err != nil {
		return m, err
	}
	m.machine, err = machineCPU()
	return m, err
}

// since returns what was used after before.
func (m meter) since(before meter) meter {
	return meter{m.servers - before.servers, m.client - before.client, machineTimes{
		busy:   m.machine.busy - before.machine.busy,
		stolen: m.machine.stolen - before.machine.stolen,
	}}
}

// costs divides what was used by the number of things done with it. Kernel
// work for a connection is not always counted to its process, so a little of
// what others took is the servers'.
func (m meter) costs(done uint64, elapsed time.Duration) costs {
	all := float64(elapsed) * float64(runtime.NumCPU())
	return costs{
		CPU:       microseconds(m.servers) / float64(done),
		ClientCPU: microseconds(m.client) / float64(done),
		Others:    max(0, float64(m.machine.busy-m.servers-m.client)/all),
		Stolen:    float64(m.machine.stolen) / all,
	}
}

// target is a running cluster and the keys that were made in it.
type target struct {
	*cluster
	lastKey atomic.Uint64 // the number of the key made last
}

func (t *target) String() string { return t.product.name }

// fillConnections is how many connections keys are made over.
const fillConnections = 256

// fill makes the keys after the last one up to and with last.
func (t *target) fill(ctx context.Context, last uint64) error {
	err := t.fillWith(ctx, putKey(), &t.lastKey, last)
	t.lastKey.Store(last) // every connection counted one too many
	return err
}

// fillWith sends s for the numbers after made up to and with last.
func (t *target) fillWith(ctx context.Context, s shape, made *atomic.Uint64, last uint64) error {
	cs, err := dialAll(ctx, t.addrs(), fillConnections)
	if err != nil {
		return err
	}
	defer cs.close()
	cs.prepare([]shape{s}, true, t.setUp.ValueSize, func(int) picker { return countUp(made, last) })
	o, err := cs.run(ctx, time.Now().Add(15*time.Minute))
	if err == nil && o.refused > 0 {
		err = fmt.Errorf("%s refused %d of %d keys, with status %d", t.product.name, o.refused, last, o.example)
	}
	return err
}

// dialFor opens n connections that will send w. Rounds differ in the keys they
// ask for, products of one round do not.
func (t *target) dialFor(ctx context.Context, w workload, n, round int) (clients, error) {
	cs, err := dialAll(ctx, t.addrs(), n)
	if err != nil {
		return nil, err
	}
	cs.prepare(w.cycle, w.first != nil, t.setUp.ValueSize, func(i int) picker {
		switch w.keys {
		case fresh:
			return countUp(&t.lastKey, ^uint64(0))
		case own:
			return always(uint64(i))
		default:
			return anyOf(presetKeys, uint64(round)<<32|uint64(i))
		}
	})
	if w.first != nil {
		for i, c := range cs {
			if err := c.once(*w.first, uint64(i), t.setUp.ValueSize); err != nil {
				cs.close()
				return nil, err
			}
		}
	}
	return cs, nil
}

// pace is how long a load lasts.
type pace struct {
	rounds           int
	warmUp, duration time.Duration
}

// load drives w over n connections and measures t under it.
func (t *target) load(ctx context.Context, w workload, n int, p pace, round int) (loadSample, error) {
	cs, err := t.dialFor(ctx, w, n, round)
	if err != nil {
		return loadSample{}, err
	}
	defer cs.close()
	out, used, err := t.drive(ctx, cs, p)
	if err != nil {
		return loadSample{}, err
	}
	s := newLoadSample(out, used)
	s.Workload, s.Connections = w.name, n
	s.turn = turn{t.product.name, round}
	s.setUp = t.setUp
	s.Memory, err = t.memory()
	return s, err
}

// drive runs cs at pace p and returns what they saw and what it took.
func (t *target) drive(ctx context.Context, cs clients, p pace) (out outcome, used meter, err error) {
	if _, err := cs.run(ctx, time.Now().Add(p.warmUp)); err != nil {
		return out, used, err
	}
	before, err := t.meter()
	if err != nil {
		return out, used, err
	}
	if out, err = cs.run(ctx, time.Now().Add(p.duration)); err != nil {
		return out, used, err
	}
	after, err := t.meter()
	return out, after.since(before), err
}

// newLoadSample reckons the figures of an outcome and the CPU time it took.
func newLoadSample(o outcome, used meter) loadSample {
	return loadSample{
		Requests:  o.latency.total,
		Refused:   o.refused,
		Rate:      float64(o.latency.total) / o.elapsed.Seconds(),
		latencies: o.latency.latencies(),
		costs:     used.costs(o.latency.total, o.elapsed),
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
