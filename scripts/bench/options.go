package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	etcd, witan    string // binaries
	against        string // another witan to compare with, "" = none
	servers        []string
	workloads      []string
	connections    []int
	valueSizes     []int         // bytes
	rounds         int           // 0 = as many as a workload is worth
	duration       time.Duration // 0 = as long as a workload is worth
	warmUp         time.Duration
	members        []int
	groups         []int
	watchers       []int
	scaleKeys      []int
	startKeys      []int
	startValueSize int // bytes
	etcdKeys       int // more are not put into etcd
	dir            string
	args           []string // as they were given
	json, write    bool
	timeout        time.Duration
}

// defaultOptions are measured if no flag says otherwise.
func defaultOptions() options {
	return options{
		workloads:   measurementNames(),
		connections: []int{1, 64, 256},
		valueSizes:  []int{64, 1 << 10, 64 << 10},
		members:     []int{1, 3},
		groups:      []int{1, 4},
		watchers:    []int{10, 100, 1000, 2000, 10_000},
		scaleKeys:   []int{1000, 10_000, 100_000, 1_000_000},
		startKeys:   []int{100_000, 1_000_000},
	}
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	o := defaultOptions()
	o.args = args
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.etcd, "etcd", "etcd", "the etcd 3.4 `binary`")
	fs.StringVar(&o.witan, "binary", "bin/witan", "the witan `binary`")
	fs.StringVar(&o.against, "against", "", "another witan `binary` to compare with, shown as \""+otherName+"\"")
	fs.Func("servers", "a comma-separated `list` of etcd, other, witan and floor (default etcd, witan and floor; with --against other and witan)", words(&o.servers))
	fs.Func("workloads", "a comma-separated `list` of "+strings.Join(measurementNames(), ", ")+" (default all)", words(&o.workloads))
	list := func(name string, into *[]int, usage string) {
		fs.Func(name, usage+" (default "+joined(*into)+")", numbers(into))
	}
	list("connections", &o.connections, "a comma-separated `list` of connection counts")
	// Of the next three the first is what everything is measured with; with the
	// others only what depends on them.
	list("value-size", &o.valueSizes, "a comma-separated `list` of the sizes of values, bytes: everything with the first, PUT and GET with the others")
	list("members", &o.members, "a comma-separated `list` of the sizes of clusters, 1 or 3: everything with the first, PUT, GET and both mixed with the others")
	list("groups", &o.groups, "a comma-separated `list` of witan's numbers of key groups, used likewise")
	fs.IntVar(&o.rounds, "rounds", 0, "how often each server is measured, in turn with the others (default 5 where targets ask for it, else 3)")
	fs.DurationVar(&o.duration, "duration", 0, "length of one measurement (default 2s where targets ask for it, else 1s)")
	fs.DurationVar(&o.warmUp, "warm-up", 300*time.Millisecond, "load before each measurement that is not counted")
	list("watchers", &o.watchers, "a comma-separated `list` of how many watch: "+watchOne+" with all, other workloads with "+strconv.Itoa(usualWatchers)+" and "+watchIdle+" with the most")
	list("scale-keys", &o.scaleKeys, "a comma-separated `list` of how many keys there are for "+scaleName+", ascending")
	list("start-keys", &o.startKeys, "a comma-separated `list` of how many keys there are for "+startLoaded)
	fs.IntVar(&o.startValueSize, "start-value-size", 1000, "`bytes` of each of their values")
	fs.IntVar(&o.etcdKeys, "etcd-keys", 100_000, "the most keys that are put into etcd, which becomes slow with many")
	fs.StringVar(&o.dir, "dir", "", "the `directory` for the servers' data, on the disk to measure (default the system's for temporary files)")
	fs.BoolVar(&o.json, "json", false, "print a JSON line for each sample, no table")
	fs.BoolVar(&o.write, "write", false, "write the tables to "+reportFile+" too")
	fs.DurationVar(&o.timeout, "timeout", 45*time.Minute, "give up after this time")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.servers == nil {
		o.servers = defaultServers(o.against)
	}
	return o, o.validate()
}

// defaultServers are measured unless --servers names others.
func defaultServers(against string) []string {
	if against != "" {
		return []string{otherName, witanName}
	}
	return []string{etcdName, witanName, floorName}
}

// validate returns all that is wrong with the flags.
func (o options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	upTo := func(name string, list []int, high int) {
		check(len(list) > 0, "%s: an empty list leaves nothing to measure", name)
		for _, n := range list {
			check(n >= 1 && n <= high, "%s: %d is not between 1 and %d", name, n, high)
		}
	}
	check(len(o.servers) > 0 && len(o.workloads) > 0, "an empty list leaves nothing to measure")
	for _, s := range o.servers {
		check(slices.Contains([]string{etcdName, otherName, witanName, floorName}, s), "--servers: there is no %q", s)
		check(s != otherName || o.against != "", "--servers: %q needs --against", s)
	}
	for _, w := range o.workloads {
		check(slices.Contains(measurementNames(), w), "--workloads: there is no %q", w)
	}
	upTo("--connections", o.connections, 10_000)
	upTo("--value-size", append(slices.Clone(o.valueSizes), o.startValueSize), 1<<20)
	upTo("--groups", o.groups, 1000)
	upTo("--watchers", o.watchers, 50_000)
	upTo("--scale-keys", o.scaleKeys, 100_000_000)
	upTo("--start-keys", o.startKeys, 100_000_000)
	check(slices.IsSorted(o.scaleKeys), "--scale-keys must ascend")
	for _, n := range o.members {
		check(n == 1 || n == 3, "--members: %d is neither 1 nor 3", n)
	}
	check(len(o.members) > 0, "--members: an empty list leaves nothing to measure")
	check(o.rounds >= 0, "--rounds must not be negative")
	check(o.duration >= 0 && o.warmUp >= 0 && o.timeout > 0, "--duration, --warm-up and --timeout must not be negative")
	return errors.Join(errs...)
}

// pace is how thoroughly something is measured; main is what targets depend on.
func (o options) pace(main bool) pace {
	p := pace{rounds: 3, warmUp: o.warmUp, duration: time.Second}
	if main {
		p.rounds, p.duration = 5, 2*time.Second
	}
	if o.rounds > 0 {
		p.rounds = o.rounds
	}
	if o.duration > 0 {
		p.duration = o.duration
	}
	return p
}

// base is the set-up that everything is measured with.
func (o options) base() setUp {
	return setUp{Members: o.members[0], Groups: o.groups[0], ValueSize: o.valueSizes[0]}
}

// setUps are those that w is measured with, the base first.
func (o options) setUps(w workload) []setUp {
	list := []setUp{o.base()}
	add := func(more []int, change func(*setUp, int)) {
		for _, n := range more[1:] {
			s := o.base()
			change(&s, n)
			list = append(list, s)
		}
	}
	if w.sized {
		add(o.valueSizes, func(s *setUp, n int) { s.ValueSize = n })
	}
	if w.wide {
		add(o.members, func(s *setUp, n int) { s.Members = n })
		add(o.groups, func(s *setUp, n int) { s.Groups = n })
	}
	return list
}

// The connections and watchers that comparisons are made with.
const (
	usualConnections = 64
	usualWatchers    = 2000
)

// connectionsFor are those that a set-up is measured with: all with the base.
func (o options) connectionsFor(s setUp) []int {
	if s == o.base() {
		return o.connections
	}
	return []int{usual(o.connections, usualConnections)}
}

// usual returns n if it is in list, else the last of the list.
func usual(list []int, n int) int {
	if slices.Contains(list, n) {
		return n
	}
	return list[len(list)-1]
}

// words returns a flag function that splits at commas.
func words(into *[]string) func(string) error {
	return func(s string) error {
		*into = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	}
}

// numbers returns a flag function for a list of whole numbers.
func numbers(into *[]int) func(string) error {
	return func(s string) error {
		var list []string
		_ = words(&list)(s) // never fails
		*into = nil
		for _, word := range list {
			n, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			*into = append(*into, n)
		}
		return nil
	}
}

// joined is a list as numbers reads it.
func joined(list []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}
