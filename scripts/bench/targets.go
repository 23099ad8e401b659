package main

import "math"

// goal is what witan wants to be.
type goal struct {
	what    string
	limit   float64
	atLeast bool // else at most
	format  func(float64) string
	found   spread // NaN if it was not measured
}

func (g goal) met() string {
	switch v := g.found.Median; {
	case math.IsNaN(v):
		return "not measured"
	case g.atLeast && v >= g.limit, !g.atLeast && v <= g.limit:
		return "yes"
	default:
		return "**no**"
	}
}

// bound shows the limit.
func (g goal) bound() string {
	if g.atLeast {
		return "≥ " + g.format(g.limit)
	}
	return "≤ " + g.format(g.limit)
}

// goals returns all targets with what was found.
func (f samples) goals() []goal {
	return append(f.requestGoals(), append(f.watchGoals(), f.sizeGoals()...)...)
}

func (f samples) requestGoals() []goal {
	one, three := setUp{1, 1, 64}, setUp{3, 1, 64}
	p50 := func(s loadSample) float64 { return s.P50 }
	return []goal{
		{"PUT over 64 connections, CPU, of etcd's", 0.60, false, ratio, f.load("put", 64, one, loadCPU)},
		{"PUT over 64 connections, throughput, of etcd's", 1.4, true, ratio, f.load("put", 64, one, loadRate)},
		{"GET over 64 connections, CPU, of etcd's", 0.70, false, ratio, f.load("get", 64, one, loadCPU)},
		{"Quorum GET over 64 connections, CPU, of etcd's", 0.55, false, ratio, f.load("quorum-get", 64, one, loadCPU)},
		{"PUT over 1 connection, CPU, of etcd's", 0.80, false, ratio, f.load("put", 1, one, loadCPU)},
		{"PUT over 1 connection, p50, of etcd's", 1, false, ratio, f.load("put", 1, one, p50)},
		{"Three members: PUT over 64 connections, CPU of all, of etcd's", 0.70, false, ratio, f.load("put", 64, three, loadCPU)},
	}
}

func (f samples) watchGoals() []goal {
	const n = usualWatchers
	p99 := func(s watchSample) float64 { return s.P99 }
	polls := f.watched(watchOne, n, witanName)
	etcds := f.watched(watchOne, n, etcdName)
	idle := filter(f.watchers, func(s watcherSample) bool { return s.Server == witanName && s.Watchers == 10_000 })
	return []goal{
		{"2,000 long polls on one key: CPU for each delivery, of etcd's", 0.70, false, ratio,
			ratioOf(each(polls, watchCPU), each(etcds, watchCPU))},
		{"2,000 long polls on one key: p99, of etcd's", 1, false, ratio,
			ratioOf(each(polls, p99), each(etcds, p99))},
		{"10,000 long polls: RSS for each", 12 << 10, false, inKibibytes,
			spreadOf(each(idle, watcherSample.each))},
		{"2,000 streams on one key: CPU for each delivery, of that of a long poll", 0.30, false, ratio,
			ratioOf(each(f.watched(streamName, n, witanName), watchCPU), each(polls, watchCPU))},
	}
}

func (f samples) sizeGoals() []goal {
	const small, large = 100_000, 1_000_000
	rss := func(s fullSample) float64 { return float64(s.Memory.RSS) }
	rested := func(s fullSample) float64 { return float64(s.Rested.RSS) }
	idleRSS := func(s idleSample) float64 { return float64(s.Memory.RSS) }
	idle := filter(f.idle, func(s idleSample) bool { return s.Server == witanName })
	return []goal{
		{"100,000 keys of 1,000 bytes: RSS, of etcd's", 0.50, false, ratio,
			ratioOf(each(f.filled(small, 1000, witanName), rss), each(f.filled(small, 1000, etcdName), rss))},
		{"1,000,000 keys of 100 bytes: RSS", 400 << 20, false, inMebibytes, spreadOf(each(f.filled(large, scaleValueSize, witanName), rss))},
		{"1,000,000 keys of 1,000 bytes: RSS half a minute after they were written", 400 << 20, false, inMebibytes,
			spreadOf(each(f.filled(large, 1000, witanName), rested))},
		{"From kill -9 to the first quorum GET with 100 MB", 1000, false, inMilliseconds, spreadOf(each(f.started(small), startRead))},
		{"From kill -9 to the first quorum GET with 1 GB", 2000, false, inMilliseconds, spreadOf(each(f.started(large), startRead))},
		{"Idle: RSS", 40 << 20, false, inMebibytes, spreadOf(each(idle, idleRSS))},
		{"Idle: CPU, of a core", 2, false, inPercent, spreadOf(each(idle, idleCPU))},
		{"GET among 1,000,000 keys: CPU, of that among 1,000", 1.2, false, ratio,
			ratioOf(each(f.scaled(readAmong, large), scaleCPU), each(f.scaled(readAmong, 1000), scaleCPU))},
		{"Listing of 10,000 keys: CPU for each key, of that in a listing of 100", 1.2, false, ratio,
			ratioOf(each(f.scaled(readList, 10_000), scaleCPUPerKey), each(f.scaled(readList, 100), scaleCPUPerKey))},
	}
}

// load returns how witan compares to etcd under a workload.
func (f samples) load(workload string, connections int, u setUp, figure func(loadSample) float64) spread {
	of := func(server string) []float64 {
		return each(filter(f.loads, func(s loadSample) bool {
			return s.Workload == workload && s.Connections == connections && s.setUp == u && s.Server == server
		}), figure)
	}
	return ratioOf(of(witanName), of(etcdName))
}

func (f samples) watched(workload string, watchers int, server string) []watchSample {
	return filter(f.watches, func(s watchSample) bool {
		return s.Workload == workload && s.Watchers == watchers && s.Server == server
	})
}

func (f samples) filled(keys, valueSize int, server string) []fullSample {
	return filter(f.full, func(s fullSample) bool {
		return s.Keys == keys && s.ValueSize == valueSize && s.Server == server
	})
}

// started returns witan's starts with so many keys of 1,000 bytes.
func (f samples) started(keys int) []startSample {
	return filter(f.starts, func(s startSample) bool {
		return s.Workload == startLoaded && s.Keys == keys && s.ValueSize == 1000 && s.Server == witanName
	})
}

// scaled returns witan's samples of one kind and size.
func (f samples) scaled(kind string, size int) []scaleSample {
	return filter(f.scales, func(s scaleSample) bool { return s.Kind == kind && s.Size == size && s.Server == witanName })
}

// goalTable has the targets, or those of them that were measured.
func (r report) goalTable(all bool) *table {
	t := &table{title: "Targets", header: []string{"target", "wanted", "found", "met"}}
	for _, g := range r.found.goals() {
		measured := !math.IsNaN(g.found.Median)
		switch {
		case measured:
			t.add(g.what, g.bound(), withRange(g.found, g.format), g.met())
		case all:
			t.add(g.what, g.bound(), "–", g.met())
		}
	}
	return t
}
