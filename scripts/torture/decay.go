package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// decayHarms are what becomes of data on a disk while its member is down: bits flip, files are cut, or are gone.
func decayHarms() family {
	return family{
		name: "decay",
		possible: func(o *options) error {
			switch {
			case o.kind != procs.Witan:
				return errors.New("the files of etcd are others")
			case o.members < 3:
				return errors.New("what a lone member has lost nobody has")
			}
			return nil
		},
		harms: []harm{{kind: "rot", weight: 4, low: time.Second, high: 3 * time.Second, strike: rotted}},
	}
}

// rotted damages a file of a member that is down and starts it again. It must serve what is true, or end and say why: then it loses its disk
// and takes its own place. Until then no other member may lose anything.
func rotted(ctx context.Context, s *storm) (func(context.Context) error, error) {
	if s.weak != nil {
		return nil, errSpared
	}
	m, err := s.victim("rot")
	if err != nil {
		return nil, err
	}
	old, err := s.idFrom(ctx, m)
	if err != nil || old == "" { // it is starting, or cut off
		s.release(m)
		return nil, errSpared
	}
	if err := m.Kill(); err != nil {
		return nil, err
	}
	p, r := fileKinds()[s.rng.IntN(len(fileKinds()))], rots()[s.rng.IntN(len(rots()))]
	damaged, what, err := inflictOn(s.rng, m, &p, &r)
	if err != nil {
		return nil, err
	}
	if !damaged {
		s.release(m)
		return nil, errors.Join(m.Start(), errSpared)
	}
	s.say("rot of %s: %s", m.Name, what)
	s.weak = m
	tail, err := m.Tail()
	if err != nil {
		return nil, err
	}
	if err := m.Start(); err != nil {
		return nil, err
	}
	wanted := old
	return func(ctx context.Context) error {
		if !m.Running() {
			if wanted != old {
				return fmt.Errorf("%s ended while it took its own place", m.Name)
			}
			if err := s.lastWords(ctx, m, tail, refusals()); err != nil {
				return err
			}
			s.rep.checked("damaged members that refused", 1)
			wanted = ""
			return errors.Join(s.comeBack(m), errNotYet)
		}
		id, err := s.idFrom(ctx, m)
		if err != nil || id == "" || wanted == old && id != old || wanted != old && id == old || !s.holds(ctx, m, id) || !serves(ctx, m) {
			return errNotYet
		}
		s.weak = nil
		s.release(m)
		return nil
	}, nil
}

// comeBack lets a member that may not go on with its data lose it and replace itself.
func (t *trial) comeBack(m *procs.Member) error {
	t.say("%s starts over with an empty disk", m.Name)
	if err := m.Wipe(); err != nil {
		return err
	}
	m.Initial, m.State, m.Flags = t.cluster.Initial(), "auto", byItself()
	return m.Start()
}

func serves(ctx context.Context, m *procs.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, question)
	defer cancel()
	return m.Ready(ctx) == nil
}

// refusals are what a member says of damage it must not go on with, each with what to do.
func refusals() []string {
	return []string{"remove the member", "remove this member", "restore it from a copy", "restore a backup"}
}

// inflictOn damages a file of a member that does not run, if it has one of that class.
func inflictOn(rng *rand.Rand, m *procs.Member, p *fileKind, r *rot) (damaged bool, what string, err error) {
	files, err := p.files(m.DataDir)
	if err != nil || len(files) == 0 {
		return false, "", err
	}
	path := files[rng.IntN(len(files))]
	damaged, err = r.inflict(rng, path)
	rel, relErr := filepath.Rel(m.DataDir, path)
	return damaged, fmt.Sprintf("%s, %s (%s)", p.name, r.name, rel), errors.Join(err, relErr)
}

func decayScenario() scenario {
	return scenario{
		name:     "decay",
		about:    "every kind of file of a member that is down is damaged in every way: it is noticed and repaired, or refused in words",
		defaults: options{members: 3, groups: 4, rate: 30, rounds: 1, snapshotCount: 20},
		flags: func(f *flag.FlagSet, o *options) {
			f.IntVar(&o.rate, "rate", o.rate, "operations a second of each client")
			f.IntVar(&o.rounds, "rounds", o.rounds, "how often each kind of file is damaged in each way")
			f.StringVar(&o.faults, "parts", o.faults, "kinds of file, comma-separated parts of their names (default all)")
			f.BoolVar(&o.majority, "majority", false, "put two of three back on older copies that look sound; must fail")
		},
		run: runDecay,
	}
}

// decay is a trial whose members' data is damaged.
type decay struct {
	*trial
	rng   *rand.Rand
	bulk  *bulk
	fates map[string]map[string]int // by class and what became of it
}

func runDecay(ctx context.Context, t *trial) error {
	if t.opt.kind != procs.Witan {
		return errors.New("the files of etcd are others")
	}
	if err := t.boot(ctx, t.config()); err != nil {
		return err
	}
	watchers, err := t.rootWatchers(ctx, false)
	if err != nil {
		return err
	}
	d := &decay{
		trial: t, rng: rand.New(rand.NewPCG(t.opt.seed, 1<<35)), //nolint:gosec // must be repeatable
		fates: map[string]map[string]int{},
	}
	if d.bulk, err = t.writeBulk(ctx); err != nil {
		return err
	}
	l := t.startLoad(ctx, 2000)
	if t.opt.majority {
		err = d.majority(ctx)
	} else {
		err = d.everything(ctx)
	}
	l.end()
	d.table()
	if err != nil {
		return err
	}
	return t.verdict(ctx, watchers)
}

// everything damages each class of files in each way.
func (d *decay) everything(ctx context.Context) error {
	asked := strings.FieldsFunc(d.opt.faults, func(r rune) bool { return r == ',' })
	n := 0
	for range d.opt.rounds {
		for _, p := range fileKinds() {
			if d.opt.members == 1 && p.name == "store value log" {
				continue // is noticed when it is read, when nobody has any more what was acknowledged meanwhile
			}
			if len(asked) > 0 && !slices.ContainsFunc(asked, func(a string) bool { return strings.Contains(p.name, a) }) {
				continue
			}
			for _, r := range rots() {
				n++
				if err := d.decay(ctx, d.cluster.Members[n%len(d.cluster.Members)], &p, &r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// decay ends a member, damages a file of it, starts it, and sees what becomes of it.
func (d *decay) decay(ctx context.Context, m *procs.Member, p *fileKind, r *rot) error {
	end := m.Kill
	if d.rng.IntN(3) == 0 {
		end = m.Stop
	}
	if err := end(); err != nil {
		return err
	}
	kept := filepath.Join(d.opt.dir, "kept")
	if d.opt.members == 1 {
		if err := errors.Join(os.RemoveAll(kept), m.Save(kept)); err != nil {
			return err
		}
	}
	damaged, what, err := inflictOn(d.rng, m, p, r)
	if err != nil {
		return err
	}
	tail, err := m.Tail()
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	if !damaged {
		d.fate(p, "no such file")
		return d.awaited(ctx, m, what)
	}
	d.rep.fault("rot")
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if err := m.Ready(soon); err == nil {
		return d.survived(ctx, m, p, tail, what)
	} else if m.Running() {
		return d.notHealed(ctx, fmt.Errorf("%s: %s: %w", m.Name, what, err))
	}
	if err := d.lastWords(ctx, m, tail, refusals()); err != nil {
		return err
	}
	d.fate(p, "refused")
	d.say("%s refuses: %s", m.Name, what)
	if d.opt.members == 1 {
		if err := errors.Join(m.Restore(kept), m.Start()); err != nil {
			return err
		}
	} else if err := d.comeBack(m); err != nil {
		return err
	}
	return d.awaited(ctx, m, what)
}

// survived looks at a member that serves although something of it was damaged.
func (d *decay) survived(ctx context.Context, m *procs.Member, p *fileKind, tail *procs.Tail, what string) error {
	lines, err := tail.Lines()
	if err != nil {
		return err
	}
	fate := "harmless"
	for _, l := range lines {
		if strings.Contains(l, "it is set aside and rebuilt") {
			fate = "rebuilt"
		}
	}
	d.fate(p, fate)
	d.say("%s serves (%s): %s", m.Name, fate, what)
	return d.awaited(ctx, m, what)
}

// awaited returns when a member serves what is true and all replicas are the same again.
func (d *decay) awaited(ctx context.Context, m *procs.Member, what string) error {
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if err := m.Ready(soon); err != nil {
		return d.notHealed(ctx, fmt.Errorf("%s after %s: %w", m.Name, what, err))
	}
	if err := d.reads(soon, m, what); err != nil {
		return err
	}
	for d.opt.members > 1 && !d.inEveryGroup(soon, m) {
		if err := pause(soon, again); err != nil {
			return d.notHealed(ctx, fmt.Errorf("%s after %s: it does not take part in every group", m.Name, what))
		}
	}
	return nil
}

// reads reads the bulk through a member. Damage it has not seen before it must see now, and stop; started again it must have everything.
func (d *decay) reads(ctx context.Context, m *procs.Member, what string) error {
	tail, err := m.Tail()
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		wrong, unread, err := d.bulk.read(ctx, m)
		if err != nil {
			return d.notHealed(ctx, fmt.Errorf("%s after %s: %w", m.Name, what, err))
		}
		if again {
			wrong = append(wrong, unread...)
		}
		for _, w := range wrong {
			d.rep.violate(check.Violation{Check: "decay", Detail: fmt.Sprintf("%s after %s: %s", m.Name, what, w)})
		}
		d.rep.checked("bulk read", len(d.bulk.sums))
		if again || len(unread) == 0 {
			return nil
		}
		d.say("%s has noticed: %s", m.Name, unread[0])
		if err := d.lastWords(ctx, m, tail, []string{"start the member again"}); err != nil {
			return d.notHealed(ctx, fmt.Errorf("%s after %s: %s: %w", m.Name, what, unread[0], err))
		}
		d.rep.checked("noticed when read", 1)
		if err := errors.Join(m.Start(), m.Ready(ctx)); err != nil {
			return d.notHealed(ctx, fmt.Errorf("%s after %s: %w", m.Name, what, err))
		}
	}
}

// inEveryGroup says whether a member votes in every group and there are as many as members.
func (d *decay) inEveryGroup(ctx context.Context, m *procs.Member) bool {
	list, err := d.admin(m).Members(ctx)
	if err != nil {
		return false
	}
	s := storm{trial: d.trial}
	return s.holds(ctx, m, idOf(list, m))
}

func (d *decay) fate(p *fileKind, what string) {
	if d.fates[p.name] == nil {
		d.fates[p.name] = map[string]int{}
	}
	d.fates[p.name][what]++
}

// table shows what became of each class of files.
func (d *decay) table() {
	d.say("%-30s %8s %8s %8s %8s", "damaged", "harmless", "rebuilt", "refused", "none")
	for _, p := range fileKinds() {
		if f := d.fates[p.name]; f != nil {
			d.say("%-30s %8d %8d %8d %8d", p.name, f["harmless"], f["rebuilt"], f["refused"], f["no such file"])
		}
	}
}

// majority puts two of three members back on copies of their disks from before some writes, but for the file that would give them away.
// They go on without the third one, which loses its disk, and what was acknowledged meanwhile is lost: the checks must find that.
func (d *decay) majority(ctx context.Context) error {
	if d.opt.members != 3 {
		return errors.New("--majority is for three members")
	}
	two := d.cluster.Members[:2]
	if err := d.cluster.Kill(); err != nil {
		return err
	}
	for _, m := range two {
		if err := m.Save(filepath.Join(d.opt.dir, m.Name+".old")); err != nil {
			return err
		}
	}
	if err := errors.Join(d.cluster.Start(), d.ready(ctx), pause(ctx, 3*time.Second), d.cluster.Kill()); err != nil {
		return err
	}
	for _, m := range two {
		identity, err := os.ReadFile(filepath.Join(m.DataDir, "identity.json"))
		if err != nil {
			return err
		}
		if err := m.Restore(filepath.Join(d.opt.dir, m.Name+".old")); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(m.DataDir, "identity.json"), identity, 0o600); err != nil {
			return err
		}
		if err := m.Start(); err != nil {
			return err
		}
	}
	d.rep.fault("majority rolled back")
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, m := range two {
		if err := m.Ready(soon); err != nil {
			return d.notHealed(ctx, err)
		}
	}
	// The third one knows better, but is outvoted. Without what it has, all seems well.
	if err := d.comeBack(d.cluster.Members[2]); err != nil {
		return err
	}
	return d.awaited(ctx, d.cluster.Members[2], "its loss")
}
