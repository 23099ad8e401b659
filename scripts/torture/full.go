package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

func fullScenario() scenario {
	return scenario{
		name:     "full",
		about:    "disks run full, slowly and at once: writes are refused, all else goes on, and writes are taken again without hands (DUR-6)",
		defaults: options{members: 3, groups: 1, rounds: 4, rate: 40, entries: "powerfs"},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rounds, "rounds", o.rounds, "times that disks fill: slowly and at once, one and all in turn")
			f.StringVar(&o.entries, "where", o.entries, "the members' disks: powerfs, tmpfs, or ext4 (on loop devices)")
			f.IntVar(&o.rate, "rate", o.rate, "operations a second of each client")
		},
		run: runFull,
	}
}

func runFull(ctx context.Context, t *trial) error {
	c := t.config()
	vessels, err := t.newVessels(&c, t.opt.entries)
	if err != nil {
		return err
	}
	if err := t.boot(ctx, c); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, true)
	if err != nil {
		return err
	}
	begin := t.rec.Clock.Now()
	l := t.startLoad(ctx, 2000)
	for round := range t.opt.rounds {
		if err = t.fullRound(ctx, vessels, round); err != nil {
			break
		}
	}
	l.end()
	if err != nil {
		return err
	}
	t.opt.duration = t.rec.Clock.Now() - begin
	return t.verdict(ctx, watchers)
}

// fullRound fills the disk of one member, or of all, and frees it again.
func (t *trial) fullRound(ctx context.Context, vessels []vessel, round int) error {
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	hit := t.cluster.Members
	if round/2%2 == 0 {
		hit = hit[round%len(hit):][:1]
	}
	atOnce, how := round%2 == 1, "slowly"
	if atOnce {
		how = "at once"
	}
	t.rep.fault(fmt.Sprintf("%d full %s", len(hit), how))
	begin := t.rec.Clock.Now()
	for _, m := range hit {
		if err := vessels[m.ID].fill(ctx, atOnce, func() bool { return t.refusesWrites(ctx, m) }); err != nil {
			return err
		}
	}
	for _, m := range hit {
		if err := t.until(ctx, m, "refuses writes", func() bool { return t.refusesWrites(ctx, m) }); err != nil {
			return err
		}
	}
	t.rep.worst("refused after, "+how+", worst s", (t.rec.Clock.Now() - begin).Seconds())
	t.say("%d full %s: writes refused", len(hit), how)
	if err := t.goesOn(ctx, hit); err != nil {
		return err
	}
	begin = t.rec.Clock.Now()
	for _, m := range hit {
		if err := vessels[m.ID].empty(); err != nil {
			return err
		}
	}
	for _, m := range hit {
		if err := t.until(ctx, m, "takes writes", func() bool { return t.takesWrites(ctx, m) }); err != nil {
			return err
		}
	}
	t.rep.worst("taken again after, worst s", (t.rec.Clock.Now() - begin).Seconds())
	return nil
}

// full disks stay so for fullFor.
const fullFor = 3 * time.Second

// goesOn looks at what must go on with full disks: plain and quorum reads of everybody, and writes through those who have space.
// What the watchers see is held against the rest at the end.
func (t *trial) goesOn(ctx context.Context, hit []*procs.Member) error {
	for end := time.Now().Add(fullFor); time.Now().Before(end); {
		for _, m := range t.cluster.Members {
			if !m.Running() {
				t.rep.violate(check.Violation{Check: "full", Detail: m.Name + " has ended with a full disk"})
				return errNotHealed
			}
			a := t.asker(m)
			a.timeout = heals
			for _, kind := range []history.Kind{history.Get, history.QuorumGet} {
				if op := a.do(ctx, &history.Op{Kind: kind, Key: "/dir0/space"}); op.Outcome != history.OK {
					t.rep.violate(check.Violation{Check: "full", Detail: fmt.Sprintf("%s does not answer with full disks: %v", m.Name, op)})
				}
			}
			a.close()
			if !slices.Contains(hit, m) && !t.takesWrites(ctx, m) {
				t.rep.violate(check.Violation{Check: "full", Detail: m.Name + " takes no writes although its disk is not full"})
			}
			t.rep.checked("reads with full disks", 2)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// until waits for something that must be so soon.
func (t *trial) until(ctx context.Context, m *procs.Member, what string, so func() bool) error {
	for end := time.Now().Add(heals); time.Now().Before(end); {
		if so() {
			return nil
		}
		if !m.Running() {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return t.notHealed(ctx, fmt.Errorf("%s, running %v, does not come to where it %s", m.Name, m.Running(), what))
}

// asker is a client of its own each time: values must be unique, and connections are.
func (t *trial) asker(m *procs.Member) *actor {
	t.askers++
	return t.actor(filling+t.askers, m.ID, true)
}

func (t *trial) write(ctx context.Context, m *procs.Member) *history.Op {
	a := t.asker(m)
	defer a.close()
	return a.do(ctx, &history.Op{Kind: history.Set, Key: "/dir0/space"})
}

func (t *trial) refusesWrites(ctx context.Context, m *procs.Member) bool {
	op := t.write(ctx, m)
	return op.Outcome == history.Fail && op.Code == api.CodeRaftInternal
}

func (t *trial) takesWrites(ctx context.Context, m *procs.Member) bool {
	return t.write(ctx, m).Outcome == history.OK
}

func sortedTimes(times []time.Duration) []time.Duration {
	slices.Sort(times)
	return times
}

// vessel is a disk that can be filled.
type vessel interface {
	// fill leaves nothing free, at once, or less and less until enough says so.
	fill(ctx context.Context, atOnce bool, enough func() bool) error
	empty() error
}

// newVessels makes a small disk of a kind for each member.
func (t *trial) newVessels(c *procs.Config, kind string) ([]vessel, error) {
	var out []vessel
	if kind == "powerfs" {
		shelf, err := t.newShelf(c, powerfsOptions())
		if err != nil {
			return nil, err
		}
		for _, d := range shelf.disks {
			out = append(out, powerVessel{d})
		}
		return out, nil
	}
	for i := range c.Members {
		dir := filepath.Join(c.Dir, fmt.Sprintf("disk%d", i))
		if err := makeDir(dir); err != nil {
			return nil, err
		}
		unmount, err := mountSmall(kind, dir)
		if err != nil {
			return nil, errors.Join(err, errors.New("--where powerfs needs less"))
		}
		t.cleanups = append(t.cleanups, unmount)
		c.DataDirs = append(c.DataDirs, filepath.Join(dir, "data"))
		out = append(out, dirVessel{dir})
	}
	return out, nil
}
