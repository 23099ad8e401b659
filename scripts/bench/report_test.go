package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFormats(t *testing.T) {
	tests := []struct{ got, want string }{
		{whole(0), "0"},
		{whole(999.4), "999"},
		{whole(1000), "1,000"},
		{whole(1234567.8), "1,234,568"},
		{whole(math.NaN()), "–"},
		{figures(1)(53.24), "53.2"},
		{figures(2)(math.Inf(1)), "–"},
		{percent(0.256), "26 %"},
		{mebibytes(30 << 20), "30"},
		{withRange(spread{2, 1, 3}, whole), "2 (1–3)"},
		{withRange(spread{2, 1.9, 2.1}, whole), "2"},
		{onlyMedian(spread{2, 1, 3}, whole), "2"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestPage(t *testing.T) {
	sample := func(server string, rate, cpu float64) loadSample {
		return loadSample{Workload: "put", Connections: 64, setUp: setUp{1, 1, 64}, turn: turn{Server: server}, Rate: rate,
			costs: costs{CPU: cpu, Others: 0.1, Stolen: 0.3}, latencies: latencies{P50: 100, P99: 200, P999: 300},
			Memory: memory{RSS: 30 << 20}}
	}
	o, err := parseFlags([]string{"--workloads", "put,start-empty", "--connections", "64", "--etcd-keys", "10", "--start-keys", "20"}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	r := report{
		options: o,
		host: host{CPU: "a processor", Cores: 2, Kernel: "6.1", Go: "go1.26", Commit: "abc", Date: "today",
			Versions: map[string]string{etcdName: "3.4.23", witanName: "1.0"}},
		found: samples{
			loads: []loadSample{
				sample(etcdName, 1000, 50), sample(witanName, 2000, 20),
				sample(etcdName, 1100, 60), sample(witanName, 1500, 30),
				sample(etcdName, 900, 40), sample(witanName, 1800, 28),
			},
			starts: []startSample{
				{Workload: startEmpty, turn: turn{Server: etcdName}, Write: 400, Read: 410},
				{Workload: startEmpty, turn: turn{Server: witanName}, Write: 200, Read: 205},
				{Workload: startLoaded, Keys: 20, turn: turn{Server: witanName}, Write: 300, Read: 305},
			},
		},
	}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.writeFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	_, tables, _ := strings.Cut(page, "\n### `put`")
	want := ": PUT over one of 1,000 keys in 10 directories\n\n" +
		"| connections | server | requests/s | server CPU, µs | p50, µs | p99, µs | p99.9, µs | RSS, MiB | client CPU, µs | others | withheld |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n" +
		"| 64 | etcd | 1,000 (900–1,100) | 50.0 (40.0–60.0) | 100 | 200 | 300 | 30 | 0.0 | 10 % | 30 % |\n" +
		"| 64 | witan | 1,800 (1,500–2,000) | 28.0 (20.0–30.0) | 100 | 200 | 300 | 30 | 0.0 | 10 % | 30 % |\n" +
		"| 64 | witan/etcd | 1.80 (1.36–2.00) | 0.56 (0.40–0.70) | 1.00 | 1.00 | 1.00 | 1.00 |  |  |  |\n" +
		"\n### Start: from exec to the first answer\n\n" +
		"| data | server | first accepted PUT, ms | first quorum GET, ms | RSS a second later, MiB | of it not file pages, MiB |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: |\n" +
		"| none | etcd | 400 | 410 | 0 | 0 |\n" +
		"| none | witan | 200 | 205 | 0 | 0 |\n" +
		"| none | witan/etcd | 0.50 | 0.50 |  |  |\n" +
		"| 20 keys of 1,000 bytes, after kill -9 | witan | 300 | 305 | 0 | 0 |\n" +
		"| 20 keys of 1,000 bytes, after kill -9 | etcd | not filled with so many |  |  |  |\n"
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	for _, fact := range []string{
		"a processor", "3.4.23", "commit abc", "today", "go run ./scripts/bench --workloads put,start-empty --connections 64",
		"other processes took 10 % and its host withheld 30 %", "(performance-notes.md)",
		"| PUT over 64 connections, CPU, of etcd's | ≤ 0.60 | 0.56 (0.40–0.70) | yes |",
		"| PUT over 64 connections, throughput, of etcd's | ≥ 1.40 | 1.80 (1.36–2.00) | yes |",
		"| Idle: RSS | ≤ 40 MiB | – | not measured |",
	} {
		if !strings.Contains(page, fact) {
			t.Errorf("%q is not in the page:\n%s", fact, page[:min(len(page), 4000)])
		}
	}
	var out bytes.Buffer
	if err := r.text(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "1.80 (1.36–2.00)") || strings.Contains(out.String(), "`") || strings.Contains(out.String(), "not measured") {
		t.Errorf("as text:\n%s", out.String())
	}
}
