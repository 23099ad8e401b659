package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// memberHarms change who the members are, in the middle of everything else: one loses its disk and takes its own place, one comes and goes.
func memberHarms() family {
	return family{
		name: "members",
		possible: func(o *options) error {
			switch {
			case o.kind != procs.Witan:
				return errors.New("members join by themselves with witan only")
			case o.members < 3:
				return errors.New("a lone member cannot be replaced")
			}
			return nil
		},
		harms: []harm{
			{kind: "replace", weight: 3, low: time.Second, high: 3 * time.Second, strike: replaced},
			{kind: "visit", weight: 3, low: 2 * time.Second, high: 6 * time.Second, strike: visited},
		},
	}
}

// replaced lets a member lose its disk. It replaces itself under a new id, and until it has, no other member may lose its own.
func replaced(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if s.weak != nil {
		return nil, errSpared
	}
	m, err := s.victim("replace")
	if err != nil {
		return nil, err
	}
	old, err := s.idFrom(ctx, m)
	if err != nil || old == "" { // it is starting, or cut off
		s.release(m)
		return nil, errSpared
	}
	s.say("%s loses its disk", m.Name)
	if err := m.Kill(); err != nil {
		return nil, err
	}
	if err := m.Wipe(); err != nil {
		return nil, err
	}
	s.weak = m
	m.Initial, m.State, m.Flags = s.cluster.Initial(), "auto", byItself()
	if err := m.Start(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		id, err := s.idFrom(ctx, m)
		if err != nil || id == "" || id == old || !s.holds(ctx, m, id) {
			return errNotYet
		}
		s.weak = nil
		s.release(m)
		return nil
	}, nil
}

// question bounds what the storm asks a member in passing.
const question = 500 * time.Millisecond

// idFrom is the id a member has by its own word.
func (s *storm) idFrom(ctx context.Context, m *procs.Member) (string, error) {
	list, err := api.Admin{Base: m.Client, Timeout: question}.Members(ctx)
	return idOf(list, m), err
}

// holds says whether a member is a voter of every group, and there are as many as members.
func (s *storm) holds(ctx context.Context, m *procs.Member, id string) bool {
	held, err := m.Replicas(ctx)
	if err != nil || len(held) != s.opt.groups+1 {
		return false
	}
	for _, r := range held {
		if !slices.Contains(r.Voters, id) || len(r.Voters) != len(s.cluster.Members) {
			return false
		}
	}
	return true
}

// visited lets a further member join by itself and removes it after a while.
func visited(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if s.visitor != nil || s.weak != nil {
		return nil, errSpared
	}
	m, err := s.cluster.Add()
	if err != nil {
		return nil, err
	}
	m.Initial, m.State, m.Flags = s.cluster.Initial(), "auto", byItself()
	s.say("%s comes", m.Name)
	s.visitor, s.busy[m] = m, "visit"
	if err := m.Start(); err != nil {
		return nil, err
	}
	var id string
	return func(ctx context.Context) error {
		if id == "" {
			known, err := s.idFrom(ctx, m)
			if err != nil || known == "" || !s.holds(ctx, m, known) {
				return errNotYet
			}
			id = known
		}
		return s.sendAway(ctx, m, id)
	}, nil
}

// sendAway removes a visitor, whose process must end by itself.
func (s *storm) sendAway(ctx context.Context, m *procs.Member, id string) error {
	host := s.cluster.Members[s.rng.IntN(s.opt.members)]
	v, err := api.Admin{Base: host.Client, Timeout: 2 * question}.Remove(ctx, id)
	if err != nil || (v.Status != http.StatusNoContent && v.Status != http.StatusGone) {
		return errNotYet
	}
	soon, cancel := context.WithTimeout(ctx, 4*question)
	defer cancel()
	if _, err := m.Ended(soon); err != nil {
		return errNotYet
	}
	s.say("%s has left", m.Name)
	s.cluster.Drop(m)
	s.release(m)
	s.visitor = nil
	return nil
}
