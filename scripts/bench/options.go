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
	valueSize      int // bytes
	rounds         int
	duration       time.Duration
	warmUp         time.Duration
	members        int
	groups         int
	startKeys      int
	startValueSize int // bytes
	dir            string
	json, write    bool
	timeout        time.Duration
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	o := options{
		workloads:   workloadNames(),
		connections: []int{1, 64},
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.etcd, "etcd", "etcd", "the etcd 3.4 `binary`")
	fs.StringVar(&o.witan, "binary", "bin/witan", "the witan `binary`")
	fs.StringVar(&o.against, "against", "", "another witan `binary` to compare with, shown as \""+otherName+"\"")
	fs.Func("servers", "a comma-separated `list` of etcd, other, witan and floor (default etcd, witan and floor; with --against other and witan)", words(&o.servers))
	fs.Func("workloads", "a comma-separated `list` of "+strings.Join(workloadNames(), ", ")+" (default all)", words(&o.workloads))
	fs.Func("connections", "a comma-separated `list` of connection counts (default 1,64)", numbers(&o.connections))
	fs.IntVar(&o.valueSize, "value-size", 64, "`bytes` of a value")
	fs.IntVar(&o.rounds, "rounds", 5, "how often each server is measured, in turn with the others")
	fs.DurationVar(&o.duration, "duration", 2*time.Second, "length of one measurement")
	fs.DurationVar(&o.warmUp, "warm-up", 300*time.Millisecond, "load before each measurement that is not counted")
	fs.IntVar(&o.members, "members", 1, "members of each cluster, 1 or 3")
	fs.IntVar(&o.groups, "groups", 1, "key groups of witan")
	fs.IntVar(&o.startKeys, "start-keys", 100_000, "keys in the data directory of "+startLoaded)
	fs.IntVar(&o.startValueSize, "start-value-size", 1000, "`bytes` of each of their values")
	fs.StringVar(&o.dir, "dir", "", "the `directory` for the servers' data, on the disk to measure (default the system's for temporary files)")
	fs.BoolVar(&o.json, "json", false, "print a JSON line for each sample, no table")
	fs.BoolVar(&o.write, "write", false, "write the tables to "+reportFile+" too")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Minute, "give up after this time")
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
	for _, s := range o.servers {
		check(slices.Contains([]string{etcdName, otherName, witanName, floorName}, s), "--servers: there is no %q", s)
		check(s != otherName || o.against != "", "--servers: %q needs --against", s)
	}
	for _, w := range o.workloads {
		check(slices.Contains(workloadNames(), w), "--workloads: there is no %q", w)
	}
	for _, n := range o.connections {
		check(n >= 1 && n <= 10_000, "--connections: %d is not between 1 and 10000", n)
	}
	check(len(o.servers) > 0 && len(o.workloads) > 0 && len(o.connections) > 0, "an empty list leaves nothing to measure")
	check(o.valueSize >= 1 && o.valueSize <= 1<<20, "--value-size: %d is not between 1 and 1 MiB", o.valueSize)
	check(o.startValueSize >= 1 && o.startValueSize <= 1<<20, "--start-value-size: %d is not between 1 and 1 MiB", o.startValueSize)
	check(o.rounds >= 1, "--rounds must be at least 1")
	check(o.startKeys >= 1, "--start-keys must be at least 1")
	check(o.groups >= 1, "--groups must be at least 1")
	check(o.members == 1 || o.members == 3, "--members must be 1 or 3")
	check(o.duration > 0 && o.warmUp >= 0 && o.timeout > 0, "--duration, --warm-up and --timeout must not be negative")
	return errors.Join(errs...)
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
