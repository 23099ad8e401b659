package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// trial is one run of a scenario: its cluster, what its clients recorded, and what was found.
type trial struct {
	opt     options
	rec     *history.Recorder
	rep     *report
	cluster *procs.Cluster // nil until boot
	roster  *roster        // where clients find its members
	roamers *roamers       // nil unless started
	askers  int            // clients so far that asked what a full disk does
	lockers *lockers       // nil unless started
	stuck   *procs.Member  // not healed, in a run that must fail
	shelf   *shelf         // nil unless the members have disks of ours

	told   []check.Sequence  // to the watchers
	listed []history.Listing // at the end

	progress io.Writer
	cleanups []func() // run backwards by close
}

func newTrial(name string, o options, progress io.Writer) *trial {
	return &trial{opt: o, rec: history.NewRecorder(), rep: newReport(name, o), progress: progress}
}

// settle bounds every wait for a cluster to come up.
const settle = 60 * time.Second

// config is the cluster the options ask for.
func (t *trial) config() procs.Config {
	return procs.Config{
		Kind: t.opt.kind, Binary: t.opt.binary, Members: t.opt.members, Groups: t.opt.groups,
		Dir: t.opt.dir, SnapshotCount: t.opt.snapshotCount, Extra: t.opt.extra,
	}
}

// boot starts a fresh cluster and waits until every member serves.
func (t *trial) boot(ctx context.Context, c procs.Config) error {
	cluster, err := procs.New(c)
	if err != nil {
		return err
	}
	t.cluster, t.roster = cluster, &roster{}
	for _, m := range cluster.Members {
		t.roster.add(m.Client)
	}
	t.cleanups = append(t.cleanups, cluster.Close)
	for _, m := range cluster.Members {
		m.State, m.Flags = cmp.Or(t.opt.state, m.State), t.opt.own
	}
	if err := cluster.Start(); err != nil {
		return err
	}
	return t.ready(ctx)
}

func (t *trial) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	return t.cluster.Ready(ctx)
}

// errNotHealed ends a trial whose cluster did not come back: there is nothing left to ask.
var errNotHealed = errors.New("the cluster did not come back")

// notHealed records that servers did not do in time what they must after a fault, unless it is the run that was ended.
func (t *trial) notHealed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.rep.violate(check.Violation{Check: "liveness", Detail: err.Error()})
	return errNotHealed
}

// say prints a line of progress with the run's time.
func (t *trial) say(format string, args ...any) {
	fmt.Fprintf(t.progress, "%7.2fs %s\n", t.rec.Clock.Now().Seconds(), fmt.Sprintf(format, args...))
}

// urls are the members' client URLs.
func (t *trial) urls() []string {
	var out []string
	for _, m := range t.cluster.Members {
		out = append(out, m.Client)
	}
	return out
}

func (t *trial) complaints() {
	if t.cluster == nil {
		return
	}
	lines, err := t.cluster.Complaints()
	if err != nil {
		t.rep.inconclusive("logs: %v", err)
	}
	for _, l := range lines {
		t.rep.violate(check.Violation{Check: "log-file", Detail: l})
	}
}

func (t *trial) close() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		t.cleanups[last]()
		t.cleanups = t.cleanups[:last]
	}
}

// saveEvidence keeps what clients, watchers and the last listings saw, and the members' disks.
func (t *trial) saveEvidence() {
	for name, what := range map[string]any{"history": t.rec.Ops(), "told": t.told, "listed": t.listed} {
		text, err := json.Marshal(what)
		if err == nil {
			err = os.WriteFile(filepath.Join(t.opt.dir, name+".json"), text, 0o600)
		}
		if err != nil {
			t.say("%s not saved: %v", name, err)
		}
	}
	if t.shelf == nil {
		return
	}
	for i, d := range t.shelf.disks {
		if err := d.Save(t.shelf.mounts[i]); err != nil {
			t.say("disk of m%d not saved: %v", i, err)
		}
	}
}

// pause waits unless the run ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	return nil
}
