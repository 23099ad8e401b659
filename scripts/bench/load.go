package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// loadSample is one measurement of a server under one workload.
type loadSample struct {
	Workload    string  `json:"workload"`
	Connections int     `json:"connections"`
	ValueSize   int     `json:"value_size"`
	Server      string  `json:"server"`
	Round       int     `json:"round"`
	Requests    uint64  `json:"requests"` // with a status of 200 to 299
	Refused     int     `json:"refused"`  // with another status
	Rate        float64 `json:"rate"`     // requests a second
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	P999        float64 `json:"p999_us"`
	CPU         float64 `json:"cpu_us"`        // of all members, a request
	ClientCPU   float64 `json:"client_cpu_us"` // of this program, a request
	Others      float64 `json:"others"`        // share of the machine that other processes took, 0 to 1
	Memory      memory  `json:"memory"`        // of all members, right after the load
}

// meter reads the CPU times that a measurement is reckoned from.
type meter struct {
	servers, client, machine time.Duration
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
	return meter{m.servers - before.servers, m.client - before.client, m.machine - before.machine}
}

// others returns the share of the machine that was used by neither the servers
// nor this program. Kernel work for a connection is not always counted to its
// process, so a little of it is theirs.
func (m meter) others(elapsed time.Duration) float64 {
	all := elapsed * time.Duration(runtime.NumCPU())
	return max(0, float64(m.machine-m.servers-m.client)/float64(all))
}

// target is a running cluster and the keys that were made in it.
type target struct {
	*cluster
	lastKey atomic.Uint64 // the number of the key made last
}

// fill makes the keys after the last one up to and with last, of valueSize
// bytes each.
func (t *target) fill(ctx context.Context, last uint64, valueSize int) error {
	const connections = 32
	cs, err := dialAll(ctx, t.addrs(), connections)
	if err != nil {
		return err
	}
	defer cs.close()
	put := workload{method: "PUT", value: true}
	cs.prepare(put, valueSize, func(int) picker { return countUp(&t.lastKey, last) })
	o, err := cs.run(ctx, time.Now().Add(10*time.Minute))
	if err == nil && o.refused > 0 {
		err = fmt.Errorf("%s refused %d of %d keys, with status %d", t.product.name, o.refused, last, o.example)
	}
	t.lastKey.Store(last) // every connection counted one too many
	return err
}

// load drives w over n connections and measures t under it. Rounds differ in
// the keys they ask for, products of one round do not.
func (t *target) load(ctx context.Context, w workload, n int, o options, round int) (loadSample, error) {
	cs, err := dialAll(ctx, t.addrs(), n)
	if err != nil {
		return loadSample{}, err
	}
	defer cs.close()
	cs.prepare(w, o.valueSize, func(i int) picker {
		if w.fresh {
			return countUp(&t.lastKey, ^uint64(0))
		}
		return anyPreset(uint64(round)<<32 | uint64(i))
	})
	if _, err := cs.run(ctx, time.Now().Add(o.warmUp)); err != nil {
		return loadSample{}, err
	}
	before, err := t.meter()
	if err != nil {
		return loadSample{}, err
	}
	out, err := cs.run(ctx, time.Now().Add(o.duration))
	if err != nil {
		return loadSample{}, err
	}
	after, err := t.meter()
	if err != nil {
		return loadSample{}, err
	}
	s := newLoadSample(out, after.since(before))
	s.Workload, s.Connections, s.ValueSize = w.name, n, o.valueSize
	s.Server, s.Round = t.product.name, round
	s.Memory, err = t.memory()
	return s, err
}

// newLoadSample reckons the figures of an outcome and the CPU time it took.
func newLoadSample(o outcome, used meter) loadSample {
	requests := float64(o.latency.total)
	return loadSample{
		Requests:  o.latency.total,
		Refused:   o.refused,
		Rate:      requests / o.elapsed.Seconds(),
		P50:       microseconds(o.latency.quantile(0.5)),
		P99:       microseconds(o.latency.quantile(0.99)),
		P999:      microseconds(o.latency.quantile(0.999)),
		CPU:       microseconds(used.servers) / requests,
		ClientCPU: microseconds(used.client) / requests,
		Others:    used.others(o.elapsed),
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
