package main

import (
	"fmt"
)

// figure is a column of a table of samples.
type figure[T any] struct {
	name    string
	of      func(T) float64
	format  func(float64) string
	show    func(spread, func(float64) string) string
	compare bool // show the ratio
}

// bases are what witan is compared with, those that were measured.
func bases() []string { return []string{etcdName, otherName} }

// addSamples adds a row for each server that has samples in list, and the
// ratios of witan to others. label stands before the servers.
func addSamples[T interface{ server() string }](t *table, label []string, list []T, figures []figure[T]) {
	of := func(server string) []T {
		return filter(list, func(s T) bool { return s.server() == server })
	}
	row := func(name string) []string { return append(append([]string(nil), label...), name) }
	for _, server := range []string{etcdName, otherName, witanName, floorName} {
		if mine := of(server); len(mine) > 0 {
			cells := row(server)
			for _, f := range figures {
				cells = append(cells, f.show(spreadOf(each(mine, f.of)), f.format))
			}
			t.add(cells...)
		}
	}
	for _, base := range bases() {
		ours, theirs := of(witanName), of(base)
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		cells, any := row(witanName+"/"+base), false
		for _, f := range figures {
			cell := ""
			if f.compare {
				cell, any = f.show(ratioOf(each(ours, f.of), each(theirs, f.of)), ratio), true
			}
			cells = append(cells, cell)
		}
		if any {
			t.add(cells...)
		}
	}
}

// header returns the names of columns.
func header[T any](label []string, figures []figure[T]) []string {
	names := append(append([]string(nil), label...), "server")
	for _, f := range figures {
		names = append(names, f.name)
	}
	return names
}

// tables returns everything that was measured, but the targets.
func (r report) tables() []*table {
	var list []*table
	for _, w := range workloads() {
		for _, u := range r.options.setUps(w) {
			list = append(list, r.loadTable(w, u))
		}
	}
	list = append(list, r.openTable())
	for _, k := range fanOuts() {
		list = append(list, r.watchTable(k))
	}
	list = append(list, r.watcherTable())
	for _, kind := range scaleKinds() {
		list = append(list, r.scaleTable(kind))
	}
	list = append(list, r.idleTable(), r.fullTable(), r.startTable())
	return filter(list, func(t *table) bool { return len(t.rows) > 0 })
}

// costFigures are columns that show costs.
func costFigures[T any](of func(T) costs) []figure[T] {
	return []figure[T]{
		{"client CPU, µs", func(s T) float64 { return of(s).ClientCPU }, figures(1), onlyMedian, false},
		{"others", func(s T) float64 { return of(s).Others }, percent, onlyMedian, false},
		{"withheld", func(s T) float64 { return of(s).Stolen }, percent, onlyMedian, false},
	}
}

// latencyFigures are columns that show latencies.
func latencyFigures[T any](of func(T) latencies) []figure[T] {
	return []figure[T]{
		{"p50, µs", func(s T) float64 { return of(s).P50 }, whole, withRange, true},
		{"p99, µs", func(s T) float64 { return of(s).P99 }, whole, onlyMedian, true},
		{"p99.9, µs", func(s T) float64 { return of(s).P999 }, whole, onlyMedian, true},
	}
}

func loadFigures() []figure[loadSample] {
	list := []figure[loadSample]{
		{"requests/s", loadRate, whole, withRange, true},
		{"server CPU, µs", loadCPU, figures(1), withRange, true},
	}
	list = append(list, latencyFigures(func(s loadSample) latencies { return s.latencies })...)
	list = append(list, figure[loadSample]{"RSS, MiB", func(s loadSample) float64 { return float64(s.Memory.RSS) }, mebibytes, onlyMedian, true})
	return append(list, costFigures(func(s loadSample) costs { return s.costs })...)
}

func loadRate(s loadSample) float64 { return s.Rate }
func loadCPU(s loadSample) float64  { return s.CPU }

// loadTable returns the table of w under u.
func (r report) loadTable(w workload, u setUp) *table {
	label := []string{"connections"}
	t := &table{title: "`" + w.name + "`: " + w.about + r.unlikeBase(u), header: header(label, loadFigures())}
	for _, n := range r.options.connectionsFor(u) {
		list := filter(r.found.loads, func(s loadSample) bool {
			return s.Workload == w.name && s.Connections == n && s.setUp == u
		})
		addSamples(t, []string{fmt.Sprint(n)}, list, loadFigures())
	}
	return t
}

// unlikeBase says what u does not share with the base, for a title.
func (r report) unlikeBase(u setUp) string {
	b := r.options.base()
	text := ""
	if u.ValueSize != b.ValueSize {
		text += fmt.Sprintf(", values of %s bytes", whole(float64(u.ValueSize)))
	}
	if u.Members != b.Members {
		text += fmt.Sprintf(", members %d", u.Members)
	}
	if u.Groups != b.Groups {
		text += fmt.Sprintf(", groups of witan %d", u.Groups)
	}
	return text
}

func (r report) openTable() *table {
	list := []figure[openSample]{{"requests/s", func(s openSample) float64 { return s.Rate }, whole, onlyMedian, false}}
	list = append(list, latencyFigures(func(s openSample) latencies { return s.latencies })...)
	list = append(list, figure[openSample]{"server CPU, µs", func(s openSample) float64 { return s.CPU }, figures(1), withRange, true})
	list = append(list, costFigures(func(s openSample) costs { return s.costs })...)
	t := &table{
		title: fmt.Sprintf("`%s`: sent on a schedule over %d connections, at half of what the slower server can do; "+
			"latency counted from when a request was due", openName, usualConnections),
		header: header([]string{"request"}, list),
	}
	for _, w := range openRequests() {
		addSamples(t, []string{w.name}, filter(r.found.open, func(s openSample) bool { return s.Request == w.name }), list)
	}
	return t
}

func (r report) watchTable(k fanOutKind) *table {
	list := []figure[watchSample]{
		{"deliveries/s", func(s watchSample) float64 { return s.Rate }, whole, withRange, true},
		{"server CPU for each, µs", watchCPU, figures(1), withRange, true},
	}
	list = append(list, latencyFigures(func(s watchSample) latencies { return s.latencies })...)
	list = append(list, costFigures(func(s watchSample) costs { return s.costs })...)
	t := &table{
		title:  "`" + k.name + "`: " + k.about + "; latency from sending the write to having the event",
		header: header([]string{"watchers"}, list),
	}
	for _, n := range r.options.watchers {
		mine := filter(r.found.watches, func(s watchSample) bool { return s.Workload == k.name && s.Watchers == n })
		addSamples(t, []string{whole(float64(n))}, mine, list)
	}
	return t
}

func watchCPU(s watchSample) float64 { return s.CPU }

func (r report) watcherTable() *table {
	list := []figure[watcherSample]{
		{"RSS for each, KiB", watcherSample.each, kibibytes, withRange, true},
		{"RSS before, MiB", func(s watcherSample) float64 { return float64(s.Before.RSS) }, mebibytes, onlyMedian, false},
		{"RSS with them, MiB", func(s watcherSample) float64 { return float64(s.After.RSS) }, mebibytes, onlyMedian, false},
	}
	t := &table{
		title:  "`" + watchIdle + "`: Long polls for whom nothing happens, each on a key of its own",
		header: header([]string{"watchers"}, list),
	}
	for _, n := range r.options.watchers {
		addSamples(t, []string{whole(float64(n))}, filter(r.found.watchers, func(s watcherSample) bool { return s.Watchers == n }), list)
	}
	return t
}

func (r report) scaleTable(kind string) *table {
	list := []figure[scaleSample]{
		{"requests/s", func(s scaleSample) float64 { return s.Rate }, whole, withRange, true},
		{"server CPU, µs", scaleCPU, figures(1), withRange, true},
	}
	if kind == readList {
		list = append(list, figure[scaleSample]{"server CPU for each key, µs", scaleCPUPerKey, figures(2), withRange, true})
	}
	list = append(list, costFigures(func(s scaleSample) costs { return s.costs })...)
	t := &table{title: "`" + scaleName + "`: " + kind, header: header([]string{"so many"}, list)}
	seen := make(map[int]bool)
	for _, s := range r.found.scales {
		if s.Kind != kind || seen[s.Size] {
			continue
		}
		seen[s.Size] = true
		label := []string{whole(float64(s.Size))}
		addSamples(t, label, filter(r.found.scales, func(o scaleSample) bool { return o.Kind == kind && o.Size == s.Size }), list)
		if kind == readAmong {
			r.addLeftOut(t, label, s.Size)
		}
	}
	return t
}

// addLeftOut says why a table has no figures of etcd for so many keys.
func (r report) addLeftOut(t *table, label []string, keys int) {
	if _, measured := r.host.Versions[etcdName]; measured && keys > r.options.etcdKeys {
		row := append(append([]string(nil), label...), etcdName, "not filled with so many")
		for len(row) < len(t.header) {
			row = append(row, "")
		}
		t.add(row...)
	}
}

func scaleCPU(s scaleSample) float64       { return s.CPU }
func scaleCPUPerKey(s scaleSample) float64 { return s.CPU / float64(s.Size) }

func (r report) idleTable() *table {
	list := []figure[idleSample]{
		{"CPU, share of a core, %", idleCPU, figures(1), withRange, false},
		{"RSS, MiB", func(s idleSample) float64 { return float64(s.Memory.RSS) }, mebibytes, withRange, false},
		{"of it not file pages, MiB", func(s idleSample) float64 { return float64(s.Memory.Anon) }, mebibytes, withRange, false},
	}
	t := &table{title: "`" + idleName + "`: Freshly started, asked for nothing", header: header(nil, list)}
	addSamples(t, nil, r.found.idle, list)
	return t
}

func idleCPU(s idleSample) float64 { return 100 * s.CPU }

func (r report) fullTable() *table {
	list := []figure[fullSample]{
		{"RSS, MiB", func(s fullSample) float64 { return float64(s.Memory.RSS) }, mebibytes, onlyMedian, true},
		{"of it not file pages, MiB", func(s fullSample) float64 { return float64(s.Memory.Anon) }, mebibytes, onlyMedian, true},
		{"RSS half a minute later, MiB", func(s fullSample) float64 { return float64(s.Rested.RSS) }, mebibytes, onlyMedian, true},
	}
	t := &table{title: "Memory: full of keys just written", header: header([]string{"keys", "bytes of a value"}, list)}
	type data struct{ keys, size int }
	seen := make(map[data]bool)
	for _, s := range r.found.full {
		d := data{s.Keys, s.ValueSize}
		if seen[d] {
			continue
		}
		seen[d] = true
		label := []string{whole(float64(d.keys)), whole(float64(d.size))}
		addSamples(t, label, filter(r.found.full, func(o fullSample) bool { return o.Keys == d.keys && o.ValueSize == d.size }), list)
		r.addLeftOut(t, label, d.keys)
	}
	return t
}

// startTable has the starts with empty directories, then those after kill -9.
func (r report) startTable() *table {
	list := []figure[startSample]{
		{"first accepted PUT, ms", func(s startSample) float64 { return s.Write }, whole, withRange, true},
		{"first quorum GET, ms", startRead, whole, withRange, true},
		{"RSS a second later, MiB", func(s startSample) float64 { return float64(s.Memory.RSS) }, mebibytes, withRange, false},
		{"of it not file pages, MiB", func(s startSample) float64 { return float64(s.Memory.Anon) }, mebibytes, withRange, false},
	}
	t := &table{title: "Start: from exec to the first answer", header: header([]string{"data"}, list)}
	addSamples(t, []string{"none"}, filter(r.found.starts, func(s startSample) bool { return s.Workload == startEmpty }), list)
	for _, n := range r.options.startKeys {
		label := []string{fmt.Sprintf("%s keys of %s bytes, after kill -9", whole(float64(n)), whole(float64(r.options.startValueSize)))}
		mine := filter(r.found.starts, func(s startSample) bool { return s.Workload == startLoaded && s.Keys == n })
		addSamples(t, label, mine, list)
		if len(mine) > 0 {
			r.addLeftOut(t, label, n)
		}
	}
	return t
}

func startRead(s startSample) float64 { return s.Read }
