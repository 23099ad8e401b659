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

// idleSample is a cluster that has just been started and is asked for nothing.
type idleSample struct {
	Server string  `json:"server"`
	CPU    float64 `json:"cpu"` // of all members, share of one core
	Memory memory  `json:"memory"`
}

// fullSample is a cluster that holds many keys and has come to rest.
type fullSample struct {
	Server    string `json:"server"`
	Keys      int    `json:"keys"`
	ValueSize int    `json:"value_size"`
	Memory    memory `json:"memory"`
}

// samples is all that was found.
type samples struct {
	idle   []idleSample
	loads  []loadSample
	starts []startSample
	full   []fullSample
}

// session is one run of the program: its servers take their turns one after
// the other.
type session struct {
	options
	products []product
	dir      string    // of the servers' data
	progress io.Writer // for people who wait
	samples  io.Writer // JSON lines; nil if not wanted
	host     host
	found    samples
}

func (s *session) runAll(ctx context.Context) (err error) {
	if s.host, err = describeHost(ctx, s.products, s.dir); err != nil {
		return err
	}
	if err := s.emit("host", s.host); err != nil {
		return err
	}
	for _, w := range workloads() {
		if slices.Contains(s.workloads, w.name) {
			if err := s.runLoad(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	for _, name := range []string{startEmpty, startLoaded} {
		if slices.Contains(s.workloads, name) {
			if err := s.runStarts(ctx, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// runLoad measures all products under w. They run at the same time, fresh and
// with the preset keys, and are driven one at a time.
func (s *session) runLoad(ctx context.Context, w workload) (err error) {
	var targets []*target
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, t.remove())
		}
	}()
	for _, p := range s.products {
		c, err := startReady(ctx, p, s.members, s.dir)
		if err != nil {
			return err
		}
		targets = append(targets, &target{cluster: c})
	}
	if err := s.measureIdle(ctx, targets); err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.fill(ctx, presetKeys, s.valueSize); err != nil {
			return err
		}
	}
	for _, n := range s.connections {
		for round := range s.rounds {
			fmt.Fprintf(s.progress, "%s, %d connections, round %d of %d\n", w.name, n, round+1, s.rounds)
			if err := s.runRound(ctx, targets, w, n, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// runRound lets every target have its turn. Who begins changes from round to
// round, for the first has the disk and the caches as the last has left them.
func (s *session) runRound(ctx context.Context, targets []*target, w workload, n, round int) error {
	for i := range targets {
		t := targets[(i+round)%len(targets)]
		sample, err := t.load(ctx, w, n, s.options, round)
		if err != nil {
			return fmt.Errorf("%s: %w", t.product.name, err)
		}
		s.found.loads = append(s.found.loads, sample)
		if err := s.emit("load", sample); err != nil {
			return err
		}
	}
	return nil
}

// measureIdle looks at servers that nobody asks for anything.
func (s *session) measureIdle(ctx context.Context, targets []*target) error {
	const watched = 2 * time.Second
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before := make([]time.Duration, len(targets))
	for i, t := range targets {
		var err error
		if before[i], err = t.cpu(); err != nil {
			return err
		}
	}
	if err := pause(ctx, watched); err != nil {
		return err
	}
	for i, t := range targets {
		after, err := t.cpu()
		if err != nil {
			return err
		}
		sample := idleSample{Server: t.product.name, CPU: (after - before[i]).Seconds() / watched.Seconds()}
		if sample.Memory, err = t.memory(); err != nil {
			return err
		}
		s.found.idle = append(s.found.idle, sample)
		if err := s.emit("idle", sample); err != nil {
			return err
		}
	}
	return nil
}

// runStarts times the start of all products but the floor, which has no data.
func (s *session) runStarts(ctx context.Context, name string) (err error) {
	loaded := make(map[string]*target)
	defer func() {
		for _, t := range loaded {
			err = errors.Join(err, t.remove())
		}
	}()
	for round := range s.rounds {
		for _, p := range s.products {
			if p.name == floorName {
				continue
			}
			fmt.Fprintf(s.progress, "%s of %s, round %d of %d\n", name, p.name, round+1, s.rounds)
			var sample startSample
			if name == startEmpty {
				sample, err = s.startEmptyOnce(ctx, p)
			} else {
				sample, err = s.startLoadedOnce(ctx, p, loaded)
			}
			if err != nil {
				return err
			}
			sample.Workload, sample.Round = name, round
			s.found.starts = append(s.found.starts, sample)
			if err := s.emit("start", sample); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) startEmptyOnce(ctx context.Context, p product) (startSample, error) {
	c, err := newCluster(p, s.members, s.dir)
	if err != nil {
		return startSample{}, err
	}
	sample, err := c.timedStart(ctx)
	return sample, errors.Join(err, c.remove())
}

// startLoadedOnce starts the cluster of p in loaded, which was ended by
// kill -9, and ends it in the same way. The first time it makes the cluster.
// While one product is measured the others are not running.
func (s *session) startLoadedOnce(ctx context.Context, p product, loaded map[string]*target) (startSample, error) {
	t := loaded[p.name]
	if t == nil {
		c, err := startReady(ctx, p, s.members, s.dir)
		if err != nil {
			return startSample{}, err
		}
		t = &target{cluster: c}
		loaded[p.name] = t
		if err := s.fillUp(ctx, t); err != nil {
			return startSample{}, err
		}
		t.kill()
	}
	sample, err := t.timedStart(ctx)
	t.kill()
	return sample, err
}

// fillUp makes the keys that a loaded cluster starts with.
func (s *session) fillUp(ctx context.Context, t *target) error {
	if err := t.fill(ctx, uint64(s.startKeys), s.startValueSize); err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	held, err := t.memory()
	if err != nil {
		return err
	}
	sample := fullSample{Server: t.product.name, Keys: s.startKeys, ValueSize: s.startValueSize, Memory: held}
	s.found.full = append(s.found.full, sample)
	return s.emit("full", sample)
}

// emit prints a sample as a line of JSON, if that is wanted.
func (s *session) emit(kind string, sample any) error {
	if s.samples == nil {
		return nil
	}
	return json.NewEncoder(s.samples).Encode(map[string]any{kind: sample})
}
