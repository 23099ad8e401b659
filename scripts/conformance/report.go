package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// finding is one exchange, or one watch, that showed differences no deviation
// explains.
type finding struct {
	source      string
	position    int // of the step, from 1
	differences []difference
	exchange    *exchange // nil for a watch
	watcher     *watcher  // nil for an exchange
	played      []step    // all steps since the servers were empty
	shrunk      []step    // fewer of them that show the same, if found
}

func (f finding) class() string { return f.differences[0].class }

// report collects what all players find. It is safe for concurrent use.
type report struct {
	mu         sync.Mutex
	requests   int
	watches    int
	findings   []finding
	deviations map[string]int
	started    time.Time
}

func newReport() *report {
	return &report{deviations: make(map[string]int), started: time.Now()}
}

func (r *report) request()         { r.mu.Lock(); r.requests++; r.mu.Unlock() }
func (r *report) watch()           { r.mu.Lock(); r.watches++; r.mu.Unlock() }
func (r *report) used(name string) { r.mu.Lock(); r.deviations[name]++; r.mu.Unlock() }
func (r *report) add(f finding)    { r.mu.Lock(); r.findings = append(r.findings, f); r.mu.Unlock() }

// How many findings of a class are printed in full, and how many with a line,
// without -v.
const (
	shown     = 2
	mentioned = 20
)

// print writes all findings by class and then the summary.
func (r *report) print(w io.Writer, list []deviation, verbose bool) {
	classes := r.byClass()
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		found := classes[class]
		fmt.Fprintf(w, "== %s: %d\n", class, len(found))
		for i, f := range found {
			switch {
			case i < shown || verbose:
				f.print(w)
			case i < shown+mentioned:
				fmt.Fprintf(w, "also: %s: %s\n", label(f.source, f.position), f.differences[0].detail)
			}
		}
		fmt.Fprintln(w)
	}
	r.summary(w, classes, list)
}

func (r *report) byClass() map[string][]finding {
	classes := make(map[string][]finding)
	for _, f := range r.findings {
		classes[f.class()] = append(classes[f.class()], f)
	}
	return classes
}

func (r *report) summary(w io.Writer, classes map[string][]finding, list []deviation) {
	var unused []string
	for _, d := range list {
		n := r.deviations[d.name]
		if n == 0 {
			unused = append(unused, d.name)
			continue
		}
		fmt.Fprintf(w, "deviation %-16s %6d  %s (%s)\n", d.name, n, d.why, d.where)
	}
	if len(unused) > 0 {
		fmt.Fprintf(w, "deviations not seen in this run: %s\n", strings.Join(unused, ", "))
	}
	var counts []string
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		counts = append(counts, fmt.Sprintf("%s %d", class, len(classes[class])))
	}
	if counts == nil {
		counts = []string{"none"}
	}
	took := time.Since(r.started)
	fmt.Fprintf(w, "conformance: %d requests, %d watches, differences: %s, %d deviations seen, %.1f s\n",
		r.requests, r.watches, strings.Join(counts, ", "), len(list)-len(unused), took.Seconds())
}

func (f finding) print(w io.Writer) {
	fmt.Fprintf(w, "-- %s\n", label(f.source, f.position))
	for _, d := range f.differences {
		fmt.Fprintf(w, "   %s: %s\n", d.class, d.detail)
	}
	sides := [2]string{"etcd", "witan"}
	for i, side := range sides {
		if f.exchange != nil {
			fmt.Fprintf(w, "%s <- %s\n%s", side, f.exchange.reqs[i], f.exchange.answers[i])
		} else {
			events, ended, _ := f.watcher.feeds[i].seen()
			fmt.Fprintf(w, "%s <- %s\n%s   ended: %t\n", side, f.watcher.reqs[i], indent(strings.Join(events, "")), ended)
		}
	}
	if f.shrunk != nil {
		fmt.Fprintf(w, "to repeat, as a script of %d steps out of %d:\n", len(f.shrunk), len(f.played))
		for _, s := range f.shrunk {
			fmt.Fprintln(w, s)
		}
	}
}

// String shows a request on one line.
func (r request) String() string {
	s := r.method + " " + clip(escape(r.target))
	if len(r.header) > 0 {
		s += " [" + strings.Join(r.header, "; ") + "]"
	}
	if r.body != "" {
		s += " body " + clip(escape(r.body))
	}
	return s
}

// String shows an answer over several indented lines.
func (a answer) String() string {
	if a.err != nil {
		return "   " + outcome(a) + "\n"
	}
	var head []string
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		if name != "Date" && !strings.HasPrefix(name, "Access-Control-") {
			head = append(head, name+": "+strings.Join(a.header[name], ", "))
		}
	}
	return fmt.Sprintf("   %d  %s\n%s", a.status, strings.Join(head, "; "), indent(clip(string(a.body))))
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "   " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n   ") + "\n"
}
