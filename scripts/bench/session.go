package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// samples is all that was found.
type samples struct {
	idle     []idleSample
	loads    []loadSample
	open     []openSample
	watches  []watchSample
	watchers []watcherSample
	scales   []scaleSample
	starts   []startSample
	full     []fullSample
}

// turn says whose measurement a sample is.
type turn struct {
	Server string `json:"server"`
	Round  int    `json:"round"`
}

func (t turn) server() string { return t.Server }

// session is one run of the program: its servers take their turns one after
// the other.
type session struct {
	options
	products []product
	dir      string // of the servers' data
	started  time.Time
	progress io.Writer // for people who wait
	samples  io.Writer // JSON lines; nil if not wanted
	host     host
	found    samples
}

// measurement is an entry of --workloads.
type measurement struct {
	name string
	run  func(*session, context.Context) error
}

// The measurements that are not requests over and over.
const (
	idleName    = "idle"
	openName    = "open-loop"
	watchOne    = "watch-one"
	watchMany   = "watch-many"
	streamName  = "stream"
	watchIdle   = "watch-idle"
	scaleName   = "scale"
	startEmpty  = "start-empty"
	startLoaded = "start-loaded"
)

// measurements lists everything in the order in which it runs.
func measurements() []measurement {
	var list []measurement
	for _, w := range workloads() {
		list = append(list, measurement{w.name, func(s *session, ctx context.Context) error { return s.runLoad(ctx, w) }})
	}
	list = append(list,
		measurement{idleName, (*session).runIdle},
		measurement{openName, (*session).runOpen})
	for _, w := range fanOuts() {
		list = append(list, measurement{w.name, func(s *session, ctx context.Context) error { return s.runFanOut(ctx, w) }})
	}
	return append(list,
		measurement{watchIdle, (*session).runWatchIdle},
		measurement{scaleName, (*session).runScale},
		measurement{startEmpty, (*session).runStartEmpty},
		measurement{startLoaded, (*session).runStartLoaded})
}

func measurementNames() []string {
	var names []string
	for _, m := range measurements() {
		names = append(names, m.name)
	}
	return names
}

func (s *session) runAll(ctx context.Context) (err error) {
	if s.host, err = describeHost(ctx, s.products, s.dir); err != nil {
		return err
	}
	if err := s.emit("host", s.host); err != nil {
		return err
	}
	if err := allowConnections(slices.Max(slices.Concat(s.connections, s.watchers))); err != nil {
		return err
	}
	for _, m := range measurements() {
		if slices.Contains(s.workloads, m.name) {
			if err := m.run(s, ctx); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	return nil
}

// say tells people who wait how far it is.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.progress, "%6v  %s\n", time.Since(s.started).Round(time.Second), fmt.Sprintf(format, args...))
}

// stores are the products that keep something: all but the floor.
func (s *session) stores() []product {
	return slices.DeleteFunc(slices.Clone(s.products), func(p product) bool { return p.name == floorName })
}

// holds says whether p is filled with so many keys.
func (s *session) holds(p product, keys int) bool {
	return p.name != etcdName || keys <= s.etcdKeys
}

// withTargets starts products afresh and at the same time, has measure drive
// them one at a time, and removes them.
func (s *session) withTargets(ctx context.Context, products []product, u setUp, measure func([]*target) error) (err error) {
	var targets []*target
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, t.remove())
		}
	}()
	for _, p := range products {
		c, err := startReady(ctx, p, u, s.dir)
		if err != nil {
			return err
		}
		targets = append(targets, &target{cluster: c})
	}
	return measure(targets)
}

// inTurn lets every one of list, targets or what is measured of them, have its
// turn in each round. Who begins changes from round to round, for the first has
// the disk and the caches as the last has left them.
func inTurn[T interface{ String() string }](s *session, what string, rounds int, list []T, measure func(one T, round int) error) error {
	for round := range rounds {
		s.say("%s, round %d of %d", what, round+1, rounds)
		for i := range list {
			one := list[(i+round)%len(list)]
			if err := measure(one, round); err != nil {
				return fmt.Errorf("%s: %w", one, err)
			}
		}
	}
	return nil
}

// keep adds a sample to what was found and prints it as a line of JSON, if
// that is wanted.
func keep[T any](s *session, list *[]T, kind string, sample T) error {
	*list = append(*list, sample)
	return s.emit(kind, sample)
}

func (s *session) emit(kind string, sample any) error {
	if s.samples == nil {
		return nil
	}
	return json.NewEncoder(s.samples).Encode(map[string]any{kind: sample})
}

// runLoad measures all products under w.
func (s *session) runLoad(ctx context.Context, w workload) error {
	for _, u := range s.setUps(w) {
		products := s.stores()
		if w.main && u.Members == s.base().Members && u.Groups == s.base().Groups {
			products = s.products // to the floor, all others are the same
		}
		if len(products) == 0 {
			return nil
		}
		err := s.withTargets(ctx, products, u, func(targets []*target) error {
			for _, t := range targets {
				if err := t.fill(ctx, presetKeys); err != nil {
					return err
				}
			}
			for _, n := range s.connectionsFor(u) {
				if err := s.runLoadOver(ctx, targets, w, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runLoadOver measures targets under w over n connections.
func (s *session) runLoadOver(ctx context.Context, targets []*target, w workload, n int) error {
	u := targets[0].setUp
	p := s.pace(w.main && u == s.base() && n <= usualConnections)
	what := fmt.Sprintf("%s, %d connections, %d bytes, members %d, groups %d", w.name, n, u.ValueSize, u.Members, u.Groups)
	return inTurn(s, what, p.rounds, targets, func(t *target, round int) error {
		sample, err := t.load(ctx, w, n, p, round)
		if err != nil {
			return err
		}
		return keep(s, &s.found.loads, "load", sample)
	})
}

// idleSample is a cluster that has just been started and is asked for nothing.
type idleSample struct {
	turn
	CPU    float64 `json:"cpu"` // of all members, share of one core
	Memory memory  `json:"memory"`
}

// idleTime is how long an idle server is looked at.
const idleTime = 4 * time.Second

// runIdle looks at servers that nobody asks for anything.
func (s *session) runIdle(ctx context.Context) error {
	return s.withTargets(ctx, s.products, s.base(), func(targets []*target) error {
		if err := pause(ctx, settle); err != nil {
			return err
		}
		rounds := s.pace(false).rounds
		for round := range rounds {
			s.say("%s, round %d of %d", idleName, round+1, rounds)
			if err := s.watchIdling(ctx, targets, round); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) watchIdling(ctx context.Context, targets []*target, round int) (err error) {
	before := make([]time.Duration, len(targets))
	for i, t := range targets {
		if before[i], err = t.cpu(); err != nil {
			return err
		}
	}
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	for i, t := range targets {
		after, err := t.cpu()
		if err != nil {
			return err
		}
		sample := idleSample{turn: turn{t.product.name, round}, CPU: (after - before[i]).Seconds() / idleTime.Seconds()}
		if sample.Memory, err = t.memory(); err != nil {
			return err
		}
		if err := keep(s, &s.found.idle, "idle", sample); err != nil {
			return err
		}
	}
	return nil
}

// fullSample is a cluster that holds many keys.
type fullSample struct {
	turn
	Keys      int    `json:"keys"`
	ValueSize int    `json:"value_size"`
	Memory    memory `json:"memory"` // when they had just been written
	Rested    memory `json:"rested"` // after rest
}

// rest is how long a server that was filled has to give memory back, and many is
// from how many keys on it is worth to wait for that.
const (
	rest = 30 * time.Second
	many = 100_000
)

// weigh enters the memory of t, which has just been filled.
func (s *session) weigh(ctx context.Context, t *target, keys int) (err error) {
	sample := fullSample{turn: turn{Server: t.product.name}, Keys: keys, ValueSize: t.setUp.ValueSize}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	if sample.Memory, err = t.memory(); err != nil {
		return err
	}
	sample.Rested = sample.Memory
	if keys >= many {
		if err := pause(ctx, rest); err != nil {
			return err
		}
		if sample.Rested, err = t.memory(); err != nil {
			return err
		}
	}
	return keep(s, &s.found.full, "full", sample)
}

// runStartEmpty times the start of members without data.
func (s *session) runStartEmpty(ctx context.Context) error {
	rounds := s.pace(false).rounds
	for round := range rounds {
		for _, p := range s.stores() {
			s.say("%s of %s, round %d of %d", startEmpty, p.name, round+1, rounds)
			c, err := newCluster(p, s.base(), s.dir)
			if err != nil {
				return err
			}
			sample, err := c.timedStart(ctx)
			if err := errors.Join(err, c.remove()); err != nil {
				return err
			}
			sample.Workload, sample.Round = startEmpty, round
			if err := keep(s, &s.found.starts, "start", sample); err != nil {
				return err
			}
		}
	}
	return nil
}

// runStartLoaded times the start of members with data, after kill -9.
func (s *session) runStartLoaded(ctx context.Context) error {
	for _, keys := range s.startKeys {
		for _, p := range s.stores() {
			if !s.holds(p, keys) {
				continue
			}
			if err := s.startFull(ctx, p, keys); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

// startFull fills a cluster of p and starts it again and again, each time
// after kill -9. No other product runs meanwhile.
func (s *session) startFull(ctx context.Context, p product, keys int) error {
	u := s.base()
	u.ValueSize = s.startValueSize
	return s.withTargets(ctx, []product{p}, u, func(targets []*target) error {
		t := targets[0]
		s.say("%s of %s, %d keys", startLoaded, p.name, keys)
		if err := t.fill(ctx, uint64(keys)); err != nil {
			return err
		}
		if err := s.weigh(ctx, t, keys); err != nil {
			return err
		}
		return inTurn(s, fmt.Sprintf("%s of %s, %d keys", startLoaded, p.name, keys), s.pace(false).rounds, targets,
			func(t *target, round int) error {
				t.kill()
				sample, err := t.timedStart(ctx)
				if err != nil {
					return err
				}
				sample.Workload, sample.Round = startLoaded, round
				sample.Keys, sample.ValueSize = keys, t.setUp.ValueSize
				return keep(s, &s.found.starts, "start", sample)
			})
	})
}
