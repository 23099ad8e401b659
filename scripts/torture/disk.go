package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/powerfs"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// diskHarms are what befalls disks under members that run: the power fails, they are slow, they fail, they run full.
func diskHarms() family {
	d := &diskStorm{}
	return family{
		name: "disk",
		possible: func(o *options) error {
			if o.kind != procs.Witan {
				return errors.New("etcd does not stop in words when its disk fails")
			}
			return powerfs.Possible()
		},
		prepare: func(s *storm, c *procs.Config) (err error) {
			if len(c.DataDirs) > 0 {
				return errors.New("the members have other disks already")
			}
			d.shelf, err = s.newShelf(c, powerfs.Options{Entries: powerfs.Journaled, Capacity: diskSize})
			return err
		},
		harms: []harm{
			{kind: "power-cut", weight: 4, low: 50 * time.Millisecond, high: 2 * time.Second, strike: d.powerCut},
			{kind: "power-cut-all", weight: 2, low: time.Millisecond, high: 500 * time.Millisecond, strike: d.powerCutAll},
			{kind: "slow-disk", weight: 3, low: 500 * time.Millisecond, high: 5 * time.Second, strike: d.slow},
			{kind: "fsync-error", weight: 4, low: 500 * time.Millisecond, high: 2 * time.Second, strike: d.failing(func(n int, in string) powerfs.Faults { return powerfs.Faults{Syncs: n, In: in} })},
			{kind: "write-error", weight: 2, low: 500 * time.Millisecond, high: 2 * time.Second, strike: d.failing(func(n int, in string) powerfs.Faults { return powerfs.Faults{Writes: n, In: in} })},
			{kind: "disk-fills", weight: 2, low: 500 * time.Millisecond, high: 3 * time.Second, strike: d.fills},
			{kind: "disk-full", weight: 2, low: 500 * time.Millisecond, high: 3 * time.Second, strike: d.full},
		},
	}
}

// diskSize is the size of members' disks: large enough for a run, and small enough to have marks for free space that tell.
const diskSize = 4 << 30

// diskStorm is the disks of a storm's members.
type diskStorm struct {
	shelf *shelf
}

// victim draws a running member that has a disk of its own, and nobody else's harm.
func (d *diskStorm) victim(s *storm, how string) (*procs.Member, *powerfs.Disk, error) {
	m, err := s.victim(how)
	if err != nil {
		return nil, nil, err
	}
	if d.shelf.of(m) == nil {
		s.release(m)
		return nil, nil, errSpared
	}
	return m, d.shelf.of(m), nil
}

func (d *diskStorm) powerCut(_ context.Context, s *storm) (func(context.Context) error, error) {
	m, _, err := d.victim(s, "power-cut")
	if err != nil {
		return nil, err
	}
	if err := m.Kill(); err != nil {
		return nil, err
	}
	l, err := d.shelf.cut(m.ID)
	if err != nil {
		return nil, err
	}
	s.say("power of %s cut: %d pages and %d names lost", m.Name, l.Pages, l.Entries)
	s.rep.worst("pages lost by a cut, most", float64(l.Pages))
	return func(context.Context) error {
		s.release(m)
		return m.Start()
	}, nil
}

// powerCutAll cuts the power of all members whose process nobody else harms, at once.
func (d *diskStorm) powerCutAll(ctx context.Context, s *storm) (func(context.Context) error, error) {
	start, err := allKilled(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, m := range s.cluster.Members {
		if s.busy[m] == "kill-all" && !m.Running() && d.shelf.of(m) != nil {
			if _, err := d.shelf.cut(m.ID); err != nil {
				return nil, err
			}
		}
	}
	s.say("power cut: %d pages and %d names lost so far", d.shelf.loss.Pages, d.shelf.loss.Entries)
	return start, nil
}

func (d *diskStorm) slow(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, disk, err := d.victim(s, "slow-disk")
	if err != nil {
		return nil, err
	}
	delay := between(s.rng, 20*time.Millisecond, 100*time.Millisecond)
	s.say("disk of %s takes %v for each fsync", m.Name, delay.Round(time.Millisecond))
	disk.Set(powerfs.Faults{SyncDelay: delay})
	cure := func(context.Context) error {
		disk.Set(powerfs.Faults{})
		s.release(m)
		return nil
	}
	if err := bites(ctx, disk, func(b powerfs.Bites) int { return b.Slowed }); err != nil {
		return nil, errors.Join(err, cure(ctx))
	}
	return cure, nil
}

// bites waits until a fault that was just set is felt. If that takes long the harm is to be given up.
func bites(ctx context.Context, disk *powerfs.Disk, felt func(powerfs.Bites) int) error {
	before := felt(disk.Bites())
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if felt(disk.Bites()) > before {
			return nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return errSpared
}

// failing makes a disk fail once, some times, or from then on. The member must stop by itself.
func (d *diskStorm) failing(faults func(n int, in string) powerfs.Faults) func(context.Context, *storm) (func(context.Context) error, error) {
	return func(ctx context.Context, s *storm) (func(context.Context) error, error) {
		m, disk, err := d.victim(s, "failing disk")
		if err != nil {
			return nil, err
		}
		f := faults([]int{1, 1, 3, powerfs.Always}[s.rng.IntN(4)], []string{"", "raft/", "group-"}[s.rng.IntN(3)])
		stop, err := d.mustStop(s, m, disk)
		if err != nil {
			return nil, err
		}
		before := disk.Bites()
		disk.Set(f)
		if err := bites(ctx, disk, func(b powerfs.Bites) int { return b.Syncs + b.Writes }); err != nil {
			disk.Set(powerfs.Faults{})
			if after := disk.Bites(); after == before {
				s.release(m)
				return nil, err
			}
		}
		s.say("disk of %s fails: %d fsyncs, %d writes in %q: %s", m.Name, f.Syncs, f.Writes, f.In, disk.Bites().Last)
		cut := s.rng.IntN(2) == 0
		return func(ctx context.Context) error {
			if err := stop(ctx); err != nil {
				return err
			}
			disk.Set(powerfs.Faults{})
			if cut || disk.Bites().Writes > 0 {
				if _, err := d.shelf.cut(m.ID); err != nil {
					return err
				}
			}
			s.release(m)
			return m.Start()
		}, nil
	}
}

// lostTable is what a member says whose database has lost a table when it was compacted. Why it could not be created
// Badger keeps to itself.
const lostTable = "Badger could not create"

// wordsOfFullDisks are what a member says whose disk was full from one moment to the next and that has stopped.
func wordsOfFullDisks() []string {
	return []string{"bytes are free", "no space left on device", lostTable}
}

// stopsWithin is how soon a member must have stopped whose disk failed.
const stopsWithin = 10 * time.Second

// mustStop returns what says whether the member has stopped by itself, with a non-zero status and words that tell why: errNotYet
// before it has, and nil when it has, or has been killed because it did not and the violation is noted.
func (d *diskStorm) mustStop(s *storm, m *procs.Member, disk *powerfs.Disk) (func(context.Context) error, error) {
	tail, err := m.Tail()
	if err != nil {
		return nil, err
	}
	limit, synced := s.rec.Clock.Now()+stopsWithin, disk.Bites().Syncs
	return func(ctx context.Context) error {
		if m.Running() {
			if s.rec.Clock.Now() < limit {
				return errNotYet
			}
			if disk.Bites().Syncs == synced {
				// Nobody asks how the writing back of a file ended that is replaced or removed. Whether
				// anything was lost shows after the power cut.
				s.say("%s goes on after a write to %s has failed", m.Name, disk.Bites().Last)
				s.rep.checked("went on after a failed write", 1)
				return m.Kill()
			}
			s.rep.violate(check.Violation{Check: "stop", Detail: fmt.Sprintf("%s goes on %v after its disk has failed in %s", m.Name, stopsWithin, disk.Bites().Last)})
			return m.Kill()
		}
		return s.lastWords(ctx, m, tail, []string{"input/output error", lostTable})
	}, nil
}

// lastWords judges how a member that has stopped by itself did.
func (t *trial) lastWords(ctx context.Context, m *procs.Member, tail *procs.Tail, words []string) error {
	status, err := m.Ended(ctx)
	if err != nil {
		return err
	}
	lines, err := tail.Lines()
	if err != nil {
		return err
	}
	t.rep.checked("stops", 1)
	if status == 0 {
		t.rep.violate(check.Violation{Check: "stop", Detail: m.Name + " has ended with status 0 after its disk failed"})
	}
	for _, l := range lines {
		if !strings.Contains(l, "witan stops") {
			continue
		}
		for _, w := range words {
			if strings.Contains(l, w) {
				return nil
			}
		}
	}
	t.rep.violate(check.Violation{Check: "stop", Detail: fmt.Sprintf("%s ended with status %d and did not say why (%s)", m.Name, status, strings.Join(words, ", "))})
	return nil
}

// fills lets the space on a disk run out until the member takes no more writes, and not further.
func (d *diskStorm) fills(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, disk, err := d.victim(s, "disk-fills")
	if err != nil {
		return nil, err
	}
	cure := func(context.Context) error {
		disk.Occupy(-1)
		s.release(m)
		return nil
	}
	for free := int64(200 << 20); free > 100<<20; free -= 10 << 20 {
		disk.Occupy(free)
		if s.refusesWrites(ctx, m) {
			s.say("%s takes no writes with %d MiB free", m.Name, free>>20)
			return cure, nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, errors.Join(errSpared, cure(ctx)) // it may be without a leader
}

// full takes all space at once, often while tables are compacted. The member may go on without writing, or stop and say why.
func (d *diskStorm) full(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, disk, err := d.victim(s, "disk-full")
	if err != nil {
		return nil, err
	}
	tail, err := m.Tail()
	if err != nil {
		return nil, err
	}
	while, end := "", func() {}
	if m.Seam != "" && s.rng.IntN(3) > 0 {
		while = " while it compacts"
		end, _ = s.takeSnapshots(ctx, []procs.Seam{m.Seam})
		if err := pause(ctx, between(s.rng, 0, 100*time.Millisecond)); err != nil {
			return nil, err
		}
	}
	disk.Occupy(0)
	s.say("disk of %s is full%s", m.Name, while)
	var until time.Duration
	return func(ctx context.Context) error {
		end()
		disk.Occupy(-1)
		// One that has failed takes some time to stop, and no writes. There may be no quorum for them either.
		if until == 0 {
			until = s.rec.Clock.Now() + 3*time.Second
		}
		if m.Running() && s.rec.Clock.Now() < until && !s.takesWrites(ctx, m) {
			return errNotYet
		}
		s.release(m)
		if m.Running() {
			return nil
		}
		s.rep.checked("stops of full disks", 1)
		if err := s.lastWords(ctx, m, tail, wordsOfFullDisks()); err != nil {
			return err
		}
		return m.Start()
	}, nil
}
