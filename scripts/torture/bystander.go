package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// bystanders write to every key group through every member, one after the other and not too fast. Those that wrote through members that
// live, to groups whose leader lives, must not notice that some member died (MR-7).
type bystanders struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu  sync.Mutex
	ops []standing
}

// standing is one write of a bystander.
type standing struct {
	member, group int
	op            *history.Op
}

func (t *trial) startBystanders(ctx context.Context) *bystanders {
	ctx, stop := context.WithCancel(ctx)
	b := &bystanders{stop: stop}
	if t.opt.groups == 1 {
		return b
	}
	for m := range t.opt.members {
		for g := range t.opt.groups {
			a := t.actor(bystanding+m*t.opt.groups+g, m, true)
			b.done.Go(func() {
				defer a.close()
				for ctx.Err() == nil {
					op := a.do(context.WithoutCancel(ctx), &history.Op{Kind: history.Set, Key: fmt.Sprintf("%s/by%d", homeOf(g), m)})
					b.mu.Lock()
					b.ops = append(b.ops, standing{m, g, op})
					b.mu.Unlock()
					_ = pause(ctx, 20*time.Millisecond)
				}
			})
		}
	}
	return b
}

func (b *bystanders) end() {
	b.stop()
	b.done.Wait()
}

// ledBy are the groups that a member leads.
func (t *trial) ledBy(ctx context.Context, m *procs.Member) ([]int, error) {
	ids, err := t.cluster.IDs(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := m.Groups(ctx)
	var led []int
	for _, g := range groups {
		if ids[g.Leader] == m.Name {
			led = append(led, g.Group)
		}
	}
	return led, err
}

// spread waits until the member that leads the first group does not lead them all, and returns which it leads.
func (t *trial) spread(ctx context.Context) (*procs.Member, []int, error) {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		leader, err := t.cluster.Leader(ctx, t.opt.kind)
		if err != nil || t.opt.groups == 1 {
			return leader, nil, err
		}
		led, err := t.ledBy(ctx, leader)
		if err == nil && len(led) < t.opt.groups {
			return leader, led, nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return nil, nil, fmt.Errorf("%s leads all groups: %w", leader.Name, errors.Join(err, ctx.Err()))
		}
	}
}

// unharmed holds those against it that ought not to have noticed that a member was lost, with the groups it led.
func (t *trial) unharmed(b *bystanders, lost *procs.Member, led []int, at time.Duration) error {
	var took []time.Duration
	for _, s := range b.ops {
		// What was on its way before may have been on its way by the one that died.
		if s.member == lost.ID || slices.Contains(led, s.group) || s.op.Call < at || s.op.Call > at+after {
			continue
		}
		if s.op.Outcome != history.OK {
			t.rep.violate(check.Violation{Check: "bystander", Detail: fmt.Sprintf("group %d, led by another than the one that died: %s", s.group, s.op)})
			continue
		}
		took = append(took, s.op.Return-s.op.Call)
	}
	if len(took) == 0 {
		return errors.New("nobody wrote to groups whose leader lives")
	}
	slices.Sort(took)
	t.rep.checked("writes to groups whose leader lives", len(took))
	t.rep.worst("other groups' p99 s", took[len(took)*99/100].Seconds())
	t.rep.worst("other groups' longest write, worst s", took[len(took)-1].Seconds())
	return nil
}
