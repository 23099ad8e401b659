package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// What --write writes, and the page beside it that people write.
const (
	reportFile = "docs/performance.md"
	notesFile  = "performance-notes.md"
)

// report shows what was found.
type report struct {
	options options
	host    host
	found   samples
}

// text prints everything for people.
func (r report) text(w io.Writer) error {
	for _, line := range r.facts() {
		fmt.Fprintf(w, "%-12s %s\n", line[0], line[1])
	}
	for _, t := range append([]*table{r.goalTable(false)}, r.tables()...) {
		if len(t.rows) == 0 {
			continue
		}
		if err := t.text(w); err != nil {
			return err
		}
	}
	return nil
}

// facts are the circumstances of the run.
func (r report) facts() [][2]string {
	h := r.host
	facts := [][2]string{
		{"machine", fmt.Sprintf("%d cores, %s, Linux %s", h.Cores, h.CPU, h.Kernel)},
		{"disk", fmt.Sprintf("append of 512 bytes with fsync: median %.0f µs, p99 %.0f µs", h.Fsync.P50, h.Fsync.P99)},
	}
	for _, name := range []string{etcdName, otherName, witanName} {
		if version, ok := h.Versions[name]; ok {
			facts = append(facts, [2]string{name, version})
		}
	}
	b := r.options.base()
	facts = append(facts,
		[2]string{"bench", fmt.Sprintf("commit %s, %s", h.Commit, h.Go)},
		[2]string{"date", h.Date},
		[2]string{"set-up", fmt.Sprintf("where nothing else is said: members %d, groups of witan %d, values of %d bytes",
			b.Members, b.Groups, b.ValueSize)})
	if len(r.costs()) > 0 {
		facts = append(facts, [2]string{"noise", r.noise()})
	}
	return facts
}

// costs returns those of all samples that have them.
func (r report) costs() (list []costs) {
	for _, s := range r.found.loads {
		list = append(list, s.costs)
	}
	for _, s := range r.found.open {
		list = append(list, s.costs)
	}
	for _, s := range r.found.watches {
		list = append(list, s.costs)
	}
	for _, s := range r.found.scales {
		list = append(list, s.costs)
	}
	return list
}

// noise says what else ran on the machine.
func (r report) noise() string {
	others := spreadOf(each(r.costs(), func(c costs) float64 { return c.Others }))
	stolen := spreadOf(each(r.costs(), func(c costs) float64 { return c.Stolen }))
	return "of the machine, other processes took " + withRange(others, percent) +
		" and its host withheld " + withRange(stolen, percent) + " while it measured"
}

// filter returns the elements of list that keep says yes to.
func filter[T any](list []T, keep func(T) bool) []T {
	var kept []T
	for _, e := range list {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// each returns one figure of every element.
func each[T any](list []T, figure func(T) float64) []float64 {
	figures := make([]float64, len(list))
	for i, e := range list {
		figures[i] = figure(e)
	}
	return figures
}

// page is the text around the tables of reportFile.
const page = `# Performance

Written by ` + "`%s`" + `; do not edit, run it again. What the figures come from, what was done for them and what
was tried in vain is in [%s](%s).

Witan beside etcd 3.4 with its v2 API, and beside an empty chi handler, "floor", which is the least that a server on
net/http and chi can cost. All run on one machine with their clients; both servers sync every write to disk before they
acknowledge it. They are driven in turn over raw keep-alive connections, each of which waits for an answer before it sends
the next request. Every figure is the median of the rounds, some with the lowest and the highest round in parentheses.
Ratios are those of the medians, with the lowest and the highest ratio within a round.

Times are noisy on a machine that does other things as well: the column "others" tells how much of it other processes took,
"withheld" how much its host kept for others. The figure to compare is **server CPU**: user and system time of the server's
processes for each request.
`

// writeFile writes the page to path.
func (r report) writeFile(path string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, page, r.command(), notesFile, notesFile)
	r.goalTable(true).markdown(&b)
	b.WriteString("\n| | |\n|---|---|\n")
	for _, line := range r.facts() {
		fmt.Fprintf(&b, "| %s | %s |\n", line[0], line[1])
	}
	for _, t := range r.tables() {
		t.markdown(&b)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// command is how to get the same tables again.
func (r report) command() string {
	return strings.Join(append([]string{"go run ./scripts/bench"}, r.options.args...), " ")
}
