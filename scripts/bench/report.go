package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// reportFile is what --write writes, below the directory the program runs in.
const reportFile = "docs/performance.md"

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
	for _, t := range r.tables() {
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
	o := r.options
	facts = append(facts,
		[2]string{"bench", fmt.Sprintf("commit %s, %s", h.Commit, h.Go)},
		[2]string{"date", h.Date},
		[2]string{"set-up", fmt.Sprintf("members %d, groups of witan %d, values of %d bytes, %d rounds of %v each",
			o.members, o.groups, o.valueSize, o.rounds, o.duration)})
	if len(r.found.loads) > 0 {
		facts = append(facts, [2]string{"noise", r.noise()})
	}
	return facts
}

// noise says what else ran on the machine.
func (r report) noise() string {
	others := spreadOf(each(r.found.loads, func(s loadSample) float64 { return s.Others }))
	return "other processes took " + withRange(others, percent) + " of the machine while it measured"
}

func (r report) tables() []*table {
	var list []*table
	for _, w := range workloads() {
		if t := r.loadTable(w); t != nil {
			list = append(list, t)
		}
	}
	for _, t := range []*table{r.idleTable(), r.fullTable(), r.startTable()} {
		if len(t.rows) > 0 {
			list = append(list, t)
		}
	}
	return list
}

// loadFigure is a column of a workload's table.
type loadFigure struct {
	name    string
	of      func(loadSample) float64
	format  func(float64) string
	show    func(spread, func(float64) string) string
	compare bool // show the ratio
}

func loadFigures() []loadFigure {
	return []loadFigure{
		{"requests/s", func(s loadSample) float64 { return s.Rate }, whole, withRange, true},
		{"server CPU, µs", func(s loadSample) float64 { return s.CPU }, figures(1), withRange, true},
		{"p50, µs", func(s loadSample) float64 { return s.P50 }, whole, withRange, true},
		{"p99, µs", func(s loadSample) float64 { return s.P99 }, whole, onlyMedian, true},
		{"p99.9, µs", func(s loadSample) float64 { return s.P999 }, whole, onlyMedian, true},
		{"RSS, MiB", func(s loadSample) float64 { return float64(s.Memory.RSS) }, mebibytes, onlyMedian, true},
		{"client CPU, µs", func(s loadSample) float64 { return s.ClientCPU }, figures(1), onlyMedian, false},
		{"others", func(s loadSample) float64 { return s.Others }, percent, onlyMedian, false},
	}
}

// loadTable returns the table of w, nil if it was not measured.
func (r report) loadTable(w workload) *table {
	t := &table{title: "`" + w.name + "`: " + w.about, header: []string{"connections", "server"}}
	for _, f := range loadFigures() {
		t.header = append(t.header, f.name)
	}
	for _, n := range r.options.connections {
		of := func(server string) []loadSample {
			return filter(r.found.loads, func(s loadSample) bool {
				return s.Workload == w.name && s.Connections == n && s.Server == server
			})
		}
		for _, server := range r.options.servers {
			if list := of(server); len(list) > 0 {
				t.add(loadRow(n, server, list)...)
			}
		}
		for _, base := range bases() {
			if ours, theirs := of(witanName), of(base); len(ours) > 0 && len(theirs) > 0 {
				t.add(ratioRow(n, base, ours, theirs)...)
			}
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return t
}

func loadRow(connections int, server string, list []loadSample) []string {
	refused := 0
	for _, s := range list {
		refused += s.Refused
	}
	if refused > 0 {
		server += fmt.Sprintf(" (%d refused)", refused)
	}
	row := []string{fmt.Sprint(connections), server}
	for _, f := range loadFigures() {
		row = append(row, f.show(spreadOf(each(list, f.of)), f.format))
	}
	return row
}

// bases are what witan is compared with, those that were measured.
func bases() []string { return []string{etcdName, otherName} }

func ratioRow(connections int, base string, ours, theirs []loadSample) []string {
	row := []string{fmt.Sprint(connections), witanName + "/" + base}
	for _, f := range loadFigures() {
		cell := ""
		if f.compare {
			cell = f.show(ratioOf(each(ours, f.of), each(theirs, f.of)), figures(2))
		}
		row = append(row, cell)
	}
	return row
}

func (r report) idleTable() *table {
	t := &table{
		title:  "Idle: freshly started, asked for nothing",
		header: []string{"server", "CPU, share of a core", "RSS, MiB", "of it not file pages, MiB"},
	}
	for _, server := range r.options.servers {
		list := filter(r.found.idle, func(s idleSample) bool { return s.Server == server })
		if len(list) == 0 {
			continue
		}
		t.add(server,
			withRange(spreadOf(each(list, func(s idleSample) float64 { return 100 * s.CPU })), figures(1))+" %",
			withRange(spreadOf(each(list, func(s idleSample) float64 { return float64(s.Memory.RSS) })), mebibytes),
			withRange(spreadOf(each(list, func(s idleSample) float64 { return float64(s.Memory.Anon) })), mebibytes))
	}
	return t
}

func (r report) fullTable() *table {
	t := &table{
		title: fmt.Sprintf("Full: %s keys of %s bytes, just written",
			whole(float64(r.options.startKeys)), whole(float64(r.options.startValueSize))),
		header: []string{"server", "RSS, MiB", "of it not file pages, MiB"},
	}
	for _, s := range r.found.full {
		t.add(s.Server, mebibytes(float64(s.Memory.RSS)), mebibytes(float64(s.Memory.Anon)))
	}
	return t
}

// startTable has the starts with empty directories, then those after kill -9.
func (r report) startTable() *table {
	t := &table{
		title:  "Start: from exec to the first answer",
		header: []string{"data", "server", "first accepted PUT, ms", "first quorum GET, ms", "RSS a second later, MiB", "of it not file pages, MiB"},
	}
	data := map[string]string{
		startEmpty: "none",
		startLoaded: fmt.Sprintf("%s keys of %s bytes, after kill -9",
			whole(float64(r.options.startKeys)), whole(float64(r.options.startValueSize))),
	}
	for _, name := range []string{startEmpty, startLoaded} {
		of := func(server string) []startSample {
			return filter(r.found.starts, func(s startSample) bool { return s.Workload == name && s.Server == server })
		}
		for _, server := range r.options.servers {
			if list := of(server); len(list) > 0 {
				t.add(data[name], server,
					withRange(spreadOf(each(list, writeTime)), whole),
					withRange(spreadOf(each(list, readTime)), whole),
					withRange(spreadOf(each(list, func(s startSample) float64 { return float64(s.Memory.RSS) })), mebibytes),
					withRange(spreadOf(each(list, func(s startSample) float64 { return float64(s.Memory.Anon) })), mebibytes))
			}
		}
		for _, base := range bases() {
			if ours, theirs := of(witanName), of(base); len(ours) > 0 && len(theirs) > 0 {
				t.add(data[name], witanName+"/"+base,
					withRange(ratioOf(each(ours, writeTime), each(theirs, writeTime)), figures(2)),
					withRange(ratioOf(each(ours, readTime), each(theirs, readTime)), figures(2)), "", "")
			}
		}
	}
	return t
}

func writeTime(s startSample) float64 { return s.Write }
func readTime(s startSample) float64  { return s.Read }

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

Written by ` + "`%s`" + `; do not edit, run it again.

Witan beside etcd 3.4 with its v2 API, and beside an empty chi handler, "floor", which is the least that a server on
net/http and chi can cost. All run on one machine with their clients; both servers sync every write to disk before they
acknowledge it. They are driven in turn over raw keep-alive connections, each of which waits for an answer before it sends
the next request. Every figure is the median of the rounds, some with the lowest and the highest round in parentheses.
Ratios are those of the medians, with the lowest and the highest ratio within a round.

Times are noisy on a machine that does other things as well: the column "others" tells how much of it other processes took.
The figure to compare is **server CPU**: user and system time of the server's processes for each request.

| | |
|---|---|
`

// writeFile writes the page to path.
func (r report) writeFile(path string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, page, r.command())
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
	o := r.options
	return fmt.Sprintf("go run ./scripts/bench --workloads %s --connections %s --value-size %d --members %d --groups %d --rounds %d --duration %v --write",
		strings.Join(o.workloads, ","), strings.ReplaceAll(strings.Trim(fmt.Sprint(o.connections), "[]"), " ", ","),
		o.valueSize, o.members, o.groups, o.rounds, o.duration)
}
