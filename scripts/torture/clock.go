package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// needsSeam says that a release cannot be asked for it.
func needsSeam(o *options) error {
	switch {
	case o.kind != procs.Witan:
		return fmt.Errorf("%s has no seam for it", o.kind)
	case !procs.HasSeam(o.binary):
		return errors.New("the server was not built with -tags torture (make bin/witan-torture)")
	}
	return nil
}

const (
	jump     = time.Hour
	drift    = 0.05
	strobing = 100 * time.Millisecond
)

// clockHarms are clocks that jump, run fast or slow, and go to and fro. Which member has them is left to chance, whether it leads or not.
func clockHarms() family {
	return family{name: "clock", possible: needsSeam, harms: []harm{
		{kind: "wall-jump", weight: 4, low: time.Second, high: 8 * time.Second, strike: wrongClock("wall", procs.Clock{Offset: jump})},
		{kind: "wall-strobe", weight: 3, low: time.Second, high: 8 * time.Second, strike: wrongClock("wall", procs.Clock{Offset: jump, Strobe: strobing})},
		{kind: "wall-drift", weight: 2, low: time.Second, high: 8 * time.Second, strike: wrongClock("wall", procs.Clock{Drift: drift})},
		{kind: "drift", weight: 4, low: time.Second, high: 8 * time.Second, strike: wrongClock("stopwatch", procs.Clock{Drift: drift})},
	}}
}

// wrongClock makes one member's clock wrong, one way or the other. The process may be harmed besides: a member that starts anew has clocks that are right.
func wrongClock(which string, c procs.Clock) func(context.Context, *storm) (func(context.Context) error, error) {
	return func(ctx context.Context, s *storm) (func(context.Context) error, error) {
		m := s.anyone()
		if m == nil {
			return nil, errSpared
		}
		c := c
		if s.rng.IntN(2) == 0 {
			c.Offset, c.Drift = -c.Offset, -c.Drift
		}
		if err := spoil(ctx, m, which, c); err != nil {
			return nil, errSpared // it is paused, or starting
		}
		s.say("%s of %s %s", which, m.Name, wrongness(c))
		return func(ctx context.Context) error {
			if !m.Running() {
				return nil
			}
			if _, _, err := m.Seam.SetClock(ctx, which, procs.Clock{}); err != nil {
				return errNotYet
			}
			return nil
		}, nil
	}
}

func wrongness(c procs.Clock) string {
	text := fmt.Sprintf("off by %v", c.Offset)
	if c.Drift != 0 {
		text = fmt.Sprintf("%+.0f %%", 100*c.Drift)
	}
	if c.Strobe > 0 {
		text += fmt.Sprintf(" every other %v", c.Strobe)
	}
	return text
}

// anyone is a running member, whatever is done to it, nil if there is none.
func (s *storm) anyone() *procs.Member {
	var running []*procs.Member
	for _, m := range s.cluster.Members {
		if m.Running() {
			running = append(running, m)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[s.rng.IntN(len(running))]
}

// spoil makes a clock wrong and waits until it shows.
func spoil(ctx context.Context, m *procs.Member, which string, c procs.Clock) error {
	begin := time.Now()
	if _, _, err := m.Seam.SetClock(ctx, which, c); err != nil {
		return err
	}
	for time.Since(begin) < time.Second {
		wall, stopwatch, err := m.Seam.Off(ctx)
		if err != nil {
			return err
		}
		off := wall
		if which == "stopwatch" {
			off = stopwatch
		}
		if c.Offset != 0 && math.Abs(off-c.Offset.Seconds()) < 1 || c.Drift*off > 0 && math.Abs(off) > 1e-3 {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the %s of %s did not become wrong", which, m.Name)
}
