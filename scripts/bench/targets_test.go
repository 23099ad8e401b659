package main

import (
	"math"
	"strings"
	"testing"
)

// TestGoals gives every target something it was measured with.
func TestGoals(t *testing.T) {
	var f samples
	load := func(workload string, connections int, u setUp, server string, cpu, rate, p50 float64) {
		f.loads = append(f.loads, loadSample{Workload: workload, Connections: connections, setUp: u, turn: turn{Server: server},
			Rate: rate, costs: costs{CPU: cpu}, latencies: latencies{P50: p50}})
	}
	one, three := setUp{1, 1, 64}, setUp{3, 1, 64}
	for _, u := range []setUp{{1, 1, 1024}, {1, 4, 64}} { // must not be looked at
		load("put", 64, u, etcdName, 1, 1, 1)
		load("put", 64, u, witanName, 1000, 0.001, 1000)
	}
	load("put", 64, one, floorName, 1, 1, 1)
	for _, w := range []string{"put", "get", "quorum-get"} {
		load(w, 64, one, etcdName, 100, 1000, 100)
		load(w, 64, one, witanName, 50, 1500, 100)
	}
	load("put", 1, one, etcdName, 100, 1000, 100)
	load("put", 1, one, witanName, 90, 1000, 110)
	load("put", 64, three, etcdName, 100, 1000, 100)
	load("put", 64, three, witanName, 70, 1000, 110)
	watch := func(workload, server string, cpu, p99 float64) {
		f.watches = append(f.watches, watchSample{Workload: workload, Watchers: 2000, turn: turn{Server: server},
			costs: costs{CPU: cpu}, latencies: latencies{P99: p99}})
	}
	watch(watchOne, etcdName, 80, 1000)
	watch(watchOne, witanName, 40, 1100)
	watch(streamName, witanName, 16, 1)
	f.watchers = []watcherSample{{turn: turn{Server: witanName}, Watchers: 10_000, Before: memory{RSS: 10 << 20}, After: memory{RSS: 10<<20 + 10_000*(11<<10)}}}
	f.full = []fullSample{
		{turn: turn{Server: etcdName}, Keys: 100_000, ValueSize: 1000, Memory: memory{RSS: 800 << 20}},
		{turn: turn{Server: witanName}, Keys: 100_000, ValueSize: 1000, Memory: memory{RSS: 200 << 20}},
		{turn: turn{Server: witanName}, Keys: 1_000_000, ValueSize: 1000, Memory: memory{RSS: 900 << 20}, Rested: memory{RSS: 390 << 20}},
		{turn: turn{Server: witanName}, Keys: 1_000_000, ValueSize: 100, Memory: memory{RSS: 500 << 20}},
	}
	f.starts = []startSample{
		{Workload: startEmpty, turn: turn{Server: witanName}, Read: 1},
		{Workload: startLoaded, turn: turn{Server: witanName}, Keys: 100_000, ValueSize: 1000, Read: 900},
		{Workload: startLoaded, turn: turn{Server: witanName}, Keys: 1_000_000, ValueSize: 1000, Read: 2100},
	}
	f.idle = []idleSample{{turn: turn{Server: witanName}, CPU: 0.015, Memory: memory{RSS: 41 << 20}}, {turn: turn{Server: etcdName}, CPU: 1}}
	scale := func(kind string, size int, cpu float64) {
		f.scales = append(f.scales, scaleSample{Kind: kind, Size: size, turn: turn{Server: witanName}, costs: costs{CPU: cpu}})
	}
	scale(readAmong, 1000, 10)
	scale(readAmong, 1_000_000, 13)
	scale(readList, 100, 200)
	scale(readList, 10_000, 22_000)

	want := []string{ // in the order of goals
		"0.50 yes", "1.50 yes", "0.50 yes", "0.50 yes", "0.90 **no**", "1.10 **no**", "0.70 yes",
		"0.50 yes", "1.10 **no**", "11.0 KiB yes", "0.40 **no**",
		"0.25 yes", "500 MiB **no**", "390 MiB yes", "900 ms yes", "2,100 ms **no**", "41 MiB **no**", "1.5 % yes", "1.30 **no**", "1.10 yes",
	}
	goals := f.goals()
	if len(goals) != len(want) {
		t.Fatalf("%d targets, %d in the table of this test", len(goals), len(want))
	}
	for i, g := range goals {
		if got := g.format(g.found.Median) + " " + g.met(); got != want[i] {
			t.Errorf("%s: got %q, want %q", g.what, got, want[i])
		}
	}
}

func TestGoalsThatWereNotMeasured(t *testing.T) {
	for _, g := range (samples{}).goals() {
		if !math.IsNaN(g.found.Median) || !strings.HasPrefix(g.met(), "not") {
			t.Errorf("%s: %v, %s", g.what, g.found, g.met())
		}
	}
}
