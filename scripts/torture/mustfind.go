package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
)

func mustfindScenario() scenario {
	return scenario{
		name:     "mustfind",
		about:    "every switch that breaks a promise, and the check that must notice; passes when all do",
		defaults: options{members: 3, groups: 1, duration: 5 * time.Second, seam: true},
		run:      runMustfind,
	}
}

// trap is a run that breaks a promise, and the checks of which at least one must notice.
type trap struct {
	name     string // the switch
	scenario scenario
	change   func(*options)
	noticed  []string
}

func traps() []trap {
	out := []trap{
		{"plain-as-quorum", killScenario(), func(o *options) { o.plain, o.duration = true, 10*time.Second }, []string{"linearizable", "realtime", "quorum-read"}},
		{"broken uncured", stormScenario(), func(o *options) { o.broken = "uncured" }, []string{"liveness"}},
		{"broken crash", stormScenario(), func(o *options) { o.broken = "crash" }, []string{"log-file"}},
		{"unfenced", locksScenario(), func(o *options) { o.unfenced, o.faults, o.duration = true, "none", 15*time.Second }, []string{"fence"}},
		{"blind", locksScenario(), func(o *options) { o.blind, o.faults = true, "none" }, []string{"append"}},
		{"clock wrong", ttlScenario(), func(o *options) { o.clock, o.keys = "wrong", 200 }, []string{"ttl"}},
		{"broken leak", stormScenario(), func(o *options) { o.broken = "leak" }, []string{"resources"}},
		{"silent-disk", fsyncScenario(), func(o *options) { o.lying, o.rounds = true, 1 }, []string{"stop"}},
		{"lying-disk", powerScenario(), func(o *options) { o.lying, o.rounds = true, 2 }, []string{"durable"}},
	}
	checks := map[api.Lie][]string{
		api.LostWrite:     {"log", "durable"},
		api.WrittenTwice:  {"log"},
		api.RefusedWrite:  {"log"},
		api.OtherVersion:  {"chain"},
		api.OldRead:       {"linearizable", "quorum-read"},
		api.SameIndex:     {"unique"},
		api.EarlierHeader: {"connection"},
		api.WrongName:     {"names"},
		api.DroppedEvent:  {"watch"},
		api.RepeatedEvent: {"watch"},
		api.SwappedEvents: {"watch"},
		api.WrongEvent:    {"watch", "log"},
	}
	for _, lie := range api.Lies() {
		out = append(out, trap{"lie " + string(lie), stormScenario(), func(o *options) { o.lie = lie }, checks[lie]})
	}
	return out
}

func runMustfind(ctx context.Context, t *trial) error {
	for i, p := range traps() {
		if (p.scenario.name == "power" || p.scenario.name == "fsync") && powerfs.Possible() != nil {
			t.say("no such disks here: %v", powerfs.Possible())
			continue
		}
		o := p.scenario.defaults
		o.members, o.groups, o.duration, o.faults = t.opt.members, t.opt.groups, t.opt.duration, "kill"
		p.change(&o)
		if err := o.inherit(&t.opt, i); err != nil {
			return err
		}
		if err := needsSeam(&o); o.clock != "" && err != nil {
			t.say("no %s here: %v", p.name, err)
			continue
		}
		r := execute(ctx, &p.scenario, o, io.Discard)
		if err := ctx.Err(); err != nil {
			return err
		}
		t.caught(&p, r)
	}
	return nil
}

// caught says whether the run was found out by the right check.
func (t *trial) caught(p *trap, r *report) {
	t.rep.Parts = append(t.rep.Parts, r)
	t.rep.Ops, t.rep.OK, t.rep.Fail, t.rep.Unknown = t.rep.Ops+r.Ops, t.rep.OK+r.OK, t.rep.Fail+r.Fail, t.rep.Unknown+r.Unknown
	t.rep.checked("traps", 1)
	for _, want := range p.noticed {
		for _, v := range r.Violations {
			if v.Check == want {
				t.say("%-22s %d found by %s: %s", p.name, r.Checked["violations of "+want], want, v.Detail)
				return
			}
		}
	}
	t.rep.violate(check.Violation{Check: "must-find", Detail: fmt.Sprintf("%s, seed %d: none of %s noticed anything (%d violations, %s)",
		p.name, r.Seed, strings.Join(p.noticed, ", "), len(r.Violations), strings.Join(r.Inconclusive, "; "))})
}

func lies() string {
	var out []string
	for _, l := range api.Lies() {
		out = append(out, string(l))
	}
	return strings.Join(out, ", ")
}

// breakPromise does what the run was told to break.
func (s *storm) breakPromise() error {
	switch s.opt.broken {
	case "", "leak":
		return nil
	case "uncured":
		s.stuck = s.cluster.Members[0]
		return s.stuck.Pause()
	case "crash":
		m := s.cluster.Members[0]
		if m.Pid() == 0 {
			return fmt.Errorf("%s does not run", m.Name)
		}
		if err := syscall.Kill(m.Pid(), syscall.SIGSEGV); err != nil {
			return fmt.Errorf("crash %s: %w", m.Name, err)
		}
		for m.Running() {
			time.Sleep(time.Millisecond)
		}
		s.opt.broken = "" // once
		return nil
	}
	return fmt.Errorf("--broken is %q, not uncured or crash", s.opt.broken)
}
