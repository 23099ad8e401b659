package main

import (
	"context"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// processHarms are what befalls processes: they die, are stopped, hang, and all die at once.
func processHarms() family {
	ended := func(how string, end func(*procs.Member) error) func(context.Context, *storm) (func(context.Context) error, error) {
		return func(_ context.Context, s *storm) (func(context.Context) error, error) {
			m, err := s.victim(how)
			if err != nil {
				return nil, err
			}
			s.say("%s %s", how, m.Name)
			if err := end(m); err != nil {
				return nil, err
			}
			return func(context.Context) error {
				s.release(m)
				return m.Start()
			}, nil
		}
	}
	return family{name: "process", harms: []harm{
		{kind: "kill", weight: 10, low: 50 * time.Millisecond, high: 2500 * time.Millisecond, strike: ended("kill", (*procs.Member).Kill)},
		{kind: "stop", weight: 4, low: 50 * time.Millisecond, high: 2500 * time.Millisecond, strike: ended("stop", (*procs.Member).Stop)},
		{kind: "pause", weight: 10, low: 100 * time.Millisecond, high: 5 * time.Second, strike: paused},
		{kind: "kill-all", weight: 2, low: time.Millisecond, high: 500 * time.Millisecond, strike: allKilled},
	}}
}

func paused(_ context.Context, s *storm) (func(context.Context) error, error) {
	m, err := s.victim("pause")
	if err != nil {
		return nil, err
	}
	s.say("pause %s", m.Name)
	if err := m.Pause(); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		s.release(m)
		return m.Resume()
	}, nil
}

// allKilled kills every member whose process is not harmed otherwise.
func allKilled(_ context.Context, s *storm) (func(context.Context) error, error) {
	var all []*procs.Member
	for _, m := range s.cluster.Members {
		if s.busy[m] == "" && m.Running() {
			all = append(all, m)
		}
	}
	if len(all) < 2 {
		return nil, errSpared
	}
	s.say("kill %d members", len(all))
	for _, m := range all {
		s.busy[m] = "kill-all"
		if err := m.Kill(); err != nil {
			return nil, err
		}
	}
	return func(context.Context) error {
		for _, m := range all {
			s.release(m)
			if err := m.Start(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
