package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// options are the flags of all scenarios; each scenario registers the ones it heeds.
type options struct {
	seed     uint64
	members  int
	groups   int
	duration time.Duration
	binary   string
	chosen   bool // the binary was named, and parts of a run do not choose another
	kind     procs.Kind
	keep     bool
	ledger   string // file to which the run is added
	dir      string // where everything of the run lies; chosen when empty

	snapshotCount int
	rate          int      // operations a second and client
	faults        string   // kinds of fault, comma-separated
	extra         []string // further server flags
	state         string   // --initial-cluster-state, new when empty
	own           []string // further flags of the first members
	history       bool     // the server keeps enough history for a gap-free log

	seam bool // the build for this suite is wanted

	grow       int // members at most
	replace    int // members to replace
	rounds     int
	fresh      bool
	pause      bool
	worst      time.Duration
	worstGroup time.Duration // worst of one key group
	keys       int
	killLeader bool
	unfenced   bool
	blind      bool
	change     string // how the lead changes
	clock      string // how clocks are wrong
	entries    string
	lying      bool
	majority   bool // two of three members are put back on older copies
	plain      bool
	lie        api.Lie       // clients and watchers tell it
	broken     string        // how the storm itself breaks a promise
	overlap    int           // harms at a time
	every      time.Duration // mean time between harms
}

// common registers the flags every scenario has, with the defaults o already holds.
func (o *options) common(f *flag.FlagSet) {
	f.Uint64Var(&o.seed, "seed", rand.Uint64()>>1, "decides everything that is left to chance") //nolint:gosec // must differ, not be secret
	f.IntVar(&o.members, "members", o.members, "members: 1, 3 or 5")
	f.IntVar(&o.groups, "groups", o.groups, "key groups (witan)")
	f.DurationVar(&o.duration, "duration", o.duration, "time under load")
	f.StringVar(&o.binary, "binary", "", "server to run (default bin/witan, or bin/witan-torture where a scenario can use it; or etcd from PATH)")
	f.StringVar((*string)(&o.kind), "kind", string(procs.Witan), "witan or etcd")
	f.StringVar(&o.ledger, "ledger", "", "add a line about this run to a file, from which the command ledger makes docs/reliability.md")
	f.BoolVar(&o.keep, "keep", true, "keep data, logs and the history when the run fails")
	f.IntVar(&o.snapshotCount, "snapshot-count", o.snapshotCount, "passed to the server when not 0")
}

// parse reads a scenario's flags and reports every fault of them.
func (s *scenario) parse(args []string, stderr io.Writer) (options, error) {
	o := s.defaults
	f := flag.NewFlagSet("torture "+s.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	o.common(f)
	if s.flags != nil {
		s.flags(f, &o)
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate()
}

// build is which of our builds to run: the one made for this suite where it is needed and has been made, else the release.
func (o *options) build() string {
	const release = "bin/witan"
	if o.seam && procs.HasSeam(release+"-torture") {
		return release + "-torture"
	}
	return release
}

// inherit makes the options those of the i-th part of a larger run, with a directory and a seed of its own.
func (o *options) inherit(from *options, i int) error {
	o.seed, o.kind, o.binary, o.history = from.seed+uint64(i), from.kind, from.binary, from.history //nolint:gosec // few parts
	if o.kind == procs.Etcd {
		o.groups = 1
	} else if !from.chosen {
		o.binary = o.build()
	}
	o.dir = filepath.Join(from.dir, fmt.Sprint(i))
	return makeDir(o.dir)
}

func (o *options) validate() error {
	var errs []error
	if o.members != 1 && o.members != 3 && o.members != 5 {
		errs = append(errs, fmt.Errorf("--members is %d, not 1, 3 or 5", o.members))
	}
	if o.groups < 1 {
		errs = append(errs, fmt.Errorf("--groups is %d", o.groups))
	}
	o.chosen = o.binary != ""
	switch o.kind {
	case procs.Witan:
		o.binary = cmp.Or(o.binary, o.build())
		o.history = true
	case procs.Etcd:
		o.binary = cmp.Or(o.binary, "etcd")
		o.groups = 1
	default:
		errs = append(errs, fmt.Errorf("--kind is %q, not witan or etcd", o.kind))
	}
	path, err := exec.LookPath(o.binary)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		errs = append(errs, fmt.Errorf("--binary: %w", err))
	}
	o.binary = path
	if o.dir == "" && len(errs) == 0 {
		o.dir, err = os.MkdirTemp("", "torture-")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
