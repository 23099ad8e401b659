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
		return loadSample{Workload: "put", Connections: 64, Server: server, Rate: rate, CPU: cpu, P50: 100, P99: 200, P999: 300,
			Memory: memory{RSS: 30 << 20}}
	}
	r := report{
		options: options{servers: []string{etcdName, witanName}, workloads: []string{"put", startEmpty}, connections: []int{64},
			valueSize: 64, members: 1, groups: 1, rounds: 3},
		host: host{CPU: "a processor", Cores: 2, Kernel: "6.1", Go: "go1.26", Commit: "abc", Date: "today",
			Versions: map[string]string{etcdName: "3.4.23", witanName: "1.0"}},
		found: samples{
			loads: []loadSample{
				sample(etcdName, 1000, 50), sample(witanName, 2000, 20),
				sample(etcdName, 1100, 60), sample(witanName, 1500, 30),
				sample(etcdName, 900, 40), sample(witanName, 1800, 28),
			},
			starts: []startSample{
				{Workload: startEmpty, Server: etcdName, Write: 400, Read: 410},
				{Workload: startEmpty, Server: witanName, Write: 200, Read: 205},
			},
		},
	}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.writeFile(path); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(page), "\n### ")
	want := "`put`: PUT over one of 1,000 keys in 10 directories\n\n" +
		"| connections | server | requests/s | server CPU, µs | p50, µs | p99, µs | p99.9, µs | RSS, MiB | client CPU, µs | others |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n" +
		"| 64 | etcd | 1,000 (900–1,100) | 50.0 (40.0–60.0) | 100 | 200 | 300 | 30 | 0.0 | 0 % |\n" +
		"| 64 | witan | 1,800 (1,500–2,000) | 28.0 (20.0–30.0) | 100 | 200 | 300 | 30 | 0.0 | 0 % |\n" +
		"| 64 | witan/etcd | 1.80 (1.36–2.00) | 0.56 (0.40–0.70) | 1.00 | 1.00 | 1.00 | 1.00 |  |  |\n" +
		"\n### Start: from exec to the first answer\n\n" +
		"| data | server | first accepted PUT, ms | first quorum GET, ms | RSS a second later, MiB | of it not file pages, MiB |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: |\n" +
		"| none | etcd | 400 | 410 | 0 | 0 |\n" +
		"| none | witan | 200 | 205 | 0 | 0 |\n" +
		"| none | witan/etcd | 0.50 | 0.50 |  |  |\n"
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	for _, fact := range []string{"a processor", "3.4.23", "commit abc", "today", "--workloads put,start-empty --connections 64"} {
		if !strings.Contains(string(page), fact) {
			t.Errorf("%q is not in the page", fact)
		}
	}
	var text bytes.Buffer
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "1.80 (1.36–2.00)") || strings.Contains(text.String(), "`") {
		t.Errorf("as text:\n%s", text.String())
	}
}
