package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// options are the flags.
type options struct {
	seeds    int
	seed     uint64
	requests int
	groups   int
	etcd     string
	witan    string
	against  string
	scripts  string
	jobs     int
	verbose  bool
	trace    bool
}

// Exit statuses.
const (
	exitSame      = 0
	exitDifferent = 1
	exitFailed    = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitSame
	}
	if err != nil {
		return exitFailed
	}
	found, err := compareAll(ctx, o, stdout)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "conformance:", err)
		return exitFailed
	case found:
		return exitDifferent
	}
	return exitSame
}

var errUsage = errors.New("usage")

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.seeds, "seeds", 10, "random sequences to run, with seeds 1 to `n`; 0 runs the scripts alone")
	fs.Uint64Var(&o.seed, "seed", 0, "run this one random sequence and no scripts")
	fs.IntVar(&o.requests, "requests", 2000, "requests in each random sequence")
	fs.IntVar(&o.groups, "groups", 1, "key groups of the witan server")
	fs.StringVar(&o.etcd, "etcd", "etcd", "the etcd 3.4 `binary`")
	fs.StringVar(&o.witan, "witan", "bin/witan", "the witan `binary`")
	fs.StringVar(&o.against, "against", "witan", "what to compare etcd with: witan, or etcd itself as a self-check")
	fs.StringVar(&o.scripts, "scripts", "", "run the scripts of this `directory` instead of the built-in ones, and no seeds unless given")
	fs.IntVar(&o.jobs, "j", 2, "pairs of servers to work on at the same time")
	fs.BoolVar(&o.verbose, "v", false, "print every difference in full")
	fs.BoolVar(&o.trace, "trace", false, "print every request with etcd's answer, one pair at a time")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.trace {
		o.jobs = 1
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["scripts"] && !given["seeds"] {
		o.seeds = 0
	}
	if fs.NArg() > 0 || o.groups < 1 || o.jobs < 1 || o.against != "witan" && o.against != "etcd" {
		fs.Usage()
		return o, errUsage
	}
	return o, nil
}

// compareAll runs all scripts and seeds and prints the report. found says
// whether there were differences.
func compareAll(ctx context.Context, o options, stdout io.Writer) (found bool, err error) {
	work, err := workOf(o)
	if err != nil {
		return false, err
	}
	rep := newReport()
	products := [2]product{etcdProduct(o.etcd), witanProduct(o.witan, o.groups)}
	list := deviations()
	if o.against == "etcd" {
		products[right], list, o.groups = products[left], nil, 1
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan script)
	var wg sync.WaitGroup
	for range o.jobs {
		wg.Go(func() {
			for s := range queue {
				pl := &player{source: s.name, deviations: list, report: rep}
				if o.trace {
					pl.trace = stdout
				}
				if err := pl.run(ctx, s, products, o.groups); err != nil {
					cancel(fmt.Errorf("%s: %w", s.name, err))
				}
			}
		})
	}
	feedQueue(ctx, queue, work)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	sh := shrinker{products: products, groups: o.groups, deviations: list}
	if err := sh.shrinkAll(ctx, rep); err != nil {
		return false, err
	}
	rep.print(stdout, list, o.verbose)
	return len(rep.findings) > 0, nil
}

func feedQueue(ctx context.Context, queue chan<- script, work []script) {
	defer close(queue)
	for _, s := range work {
		select {
		case queue <- s:
		case <-ctx.Done():
			return
		}
	}
}

// workOf lists what the flags ask for: scripts first, then seeds.
func workOf(o options) ([]script, error) {
	if o.seed != 0 {
		return []script{generate(o.seed, o.requests, o.groups)}, nil
	}
	scripts, err := loadScripts(o.scripts)
	if err != nil {
		return nil, err
	}
	var work []script
	for _, s := range scripts {
		if s.groups == 0 || s.groups == o.groups {
			work = append(work, s)
		}
	}
	for seed := range o.seeds {
		work = append(work, generate(uint64(seed)+1, o.requests, o.groups))
	}
	return work, nil
}

// run plays a whole script on a fresh pair of servers.
func (pl *player) run(ctx context.Context, s script, products [2]product, groups int) (err error) {
	for i := range products {
		products[i].members = max(s.members, 1)
		products[i].flags = slices.Concat(products[i].flags, s.flags)
	}
	pl.pair, err = newPair(ctx, products, groups)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pl.pair.stop()) }()
	pl.watchers = make(map[string]*watcher)
	for _, st := range s.steps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := pl.play(st); errors.Is(err, errTooMany) {
			break
		} else if err != nil {
			return fmt.Errorf("step %d: %w", pl.position, err)
		}
	}
	for name := range pl.watchers {
		pl.closeWatch(name)
	}
	return nil
}
