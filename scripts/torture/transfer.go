package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// leadershipHarms move leaders about that nothing is wrong with.
func leadershipHarms() family {
	return family{
		name: "leadership",
		possible: func(o *options) error {
			if o.members < 2 {
				return fmt.Errorf("a cluster of %d has nobody else to lead", o.members)
			}
			return needsSeam(o)
		},
		harms: []harm{
			{kind: "transfer", weight: 6, strike: transferred},
			{kind: "transfer-storm", weight: 3, low: time.Second, high: 5 * time.Second, strike: tossed},
		},
	}
}

// transferred gives the lead of a group to another member, and sees that it has it.
func transferred(ctx context.Context, s *storm) (func(context.Context) error, error) {
	group, to := s.rng.IntN(s.opt.groups), s.anyone()
	if to == nil {
		return nil, errSpared
	}
	before, err := to.Groups(ctx)
	if err != nil || len(before) <= group || before[group].Leader == "" {
		return nil, errSpared
	}
	if to.Seam.Lead(ctx, group) != nil {
		return nil, errSpared
	}
	after, err := to.Groups(ctx)
	if err != nil || len(after) <= group || after[group].Term == before[group].Term {
		return nil, errSpared // it led before
	}
	s.say("group %d to %s", group, to.Name)
	return nil, nil
}

// tossed moves the leaders of all groups all the time, each to whoever is drawn.
func tossed(ctx context.Context, s *storm) (func(context.Context) error, error) {
	seams := s.seams()
	if len(seams) < 2 {
		return nil, errSpared
	}
	ctx, stop := context.WithCancel(ctx)
	moved := make(chan struct{}, 1)
	var done sync.WaitGroup
	for g := range s.opt.groups {
		first := s.rng.IntN(len(seams))
		done.Go(func() {
			for n := first; ctx.Err() == nil; n++ {
				if seams[n%len(seams)].Lead(ctx, g) == nil {
					select {
					case moved <- struct{}{}:
					default:
					}
				}
				_ = pause(ctx, 100*time.Millisecond)
			}
		})
	}
	end := func() { stop(); done.Wait() }
	s.cleanups = append(s.cleanups, end)
	for range 2 { // the first may have led already
		select {
		case <-moved:
		case <-time.After(500 * time.Millisecond):
			end()
			return nil, errSpared
		}
	}
	s.say("%d groups move from member to member", s.opt.groups)
	return func(context.Context) error { end(); return nil }, nil
}

// seams are those of the members that run.
func (s *storm) seams() []procs.Seam {
	var out []procs.Seam
	for _, m := range s.cluster.Members {
		if m.Running() {
			out = append(out, m.Seam)
		}
	}
	return out
}

// snapshotHarms take snapshots all the time and drop the log before them, also while a member is away that will need what is dropped.
func snapshotHarms() family {
	return family{name: "snapshot", possible: needsSeam, harms: []harm{
		{kind: "snapshot-storm", weight: 4, low: 500 * time.Millisecond, high: 4 * time.Second, strike: snapshots},
		{kind: "left-behind", weight: 4, low: 500 * time.Millisecond, high: 3 * time.Second, strike: leftBehind},
	}}
}

func snapshots(ctx context.Context, s *storm) (func(context.Context) error, error) {
	end, taken := s.takeSnapshots(ctx, s.seams())
	select {
	case <-taken:
		s.say("snapshots everywhere")
		return func(context.Context) error { end(); return nil }, nil
	case <-time.After(time.Second):
		end()
		return nil, errSpared
	}
}

// taken is a snapshot that was taken of a group.
type taken struct {
	group int
	index uint64
}

// takeSnapshots takes them of all groups, again and again, until the returned function is called.
func (s *storm) takeSnapshots(ctx context.Context, of []procs.Seam) (end func(), news <-chan taken) {
	ctx, stop := context.WithCancel(ctx)
	told := make(chan taken, 1)
	var done sync.WaitGroup
	for _, m := range of {
		done.Go(func() {
			for g := 0; ctx.Err() == nil; g = (g + 1) % s.opt.groups {
				if index, err := m.Snapshot(ctx, g); err == nil && index > 0 {
					select {
					case told <- taken{g, index}:
					case <-ctx.Done():
					default:
					}
				}
				_ = pause(ctx, 20*time.Millisecond)
			}
		})
	}
	end = func() { stop(); done.Wait() }
	s.cleanups = append(s.cleanups, end)
	return end, told
}

// leftBehind pauses a member until the others have dropped log it has not got, so that it must be given a snapshot.
func leftBehind(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if s.opt.members < 3 {
		return nil, errSpared
	}
	m, err := s.victim("left-behind")
	if err != nil {
		return nil, err
	}
	has, err := m.Groups(ctx)
	if err != nil || len(has) != s.opt.groups {
		s.release(m)
		return nil, errSpared
	}
	if err := m.Pause(); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(s.seams(), func(u procs.Seam) bool { return u == m.Seam })
	end, news := s.takeSnapshots(ctx, others)
	back := func() error {
		end()
		s.release(m)
		return m.Resume()
	}
	late := time.After(time.Second)
	for {
		select {
		case t := <-news:
			if t.index > has[t.group].RaftIndex+ahead {
				s.say("%s left behind", m.Name)
				return func(context.Context) error { return back() }, nil
			}
		case <-late:
			if err := back(); err != nil {
				return nil, err
			}
			return nil, errSpared
		}
	}
}

// ahead is by how many entries a snapshot must be newer than what a member had just before it was stopped, to be one it cannot do without.
const ahead = 20
