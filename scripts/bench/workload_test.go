package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRequests has net/http read what is sent.
func TestRequests(t *testing.T) {
	tests := map[string]struct{ method, target, form string }{
		"put":        {"PUT", "/v2/keys/bench-7/key-000000001237", "value=vvvvv"},
		"create":     {"PUT", "/v2/keys/bench-7/key-000000001237", "value=vvvvv"},
		"get":        {"GET", "/v2/keys/bench-7/key-000000001237", ""},
		"quorum-get": {"GET", "/v2/keys/bench-7/key-000000001237?quorum=true", ""},
		"mixed":      {"GET", "/v2/keys/bench-7/key-000000001237", ""},
		"cas":        {"PUT", "/v2/keys/bench-7/key-000000001237", "prevValue=vvvvv&value=wwwww"},
		"post":       {"POST", "/v2/keys/queue-7", "value=vvvvv"},
		"refresh":    {"PUT", "/v2/keys/bench-7/key-000000001237", "prevExist=true&refresh=true&ttl=60"},
		"list":       {"GET", "/v2/keys/?recursive=true", ""},
	}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			want, ok := tests[w.name]
			if !ok {
				t.Fatal("this workload has no row in the table of this test")
			}
			r := w.cycle[0].requestTo("127.0.0.1:2379", 5)
			r.setKey(999)
			r.setKey(1237)
			got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Method != want.method || got.RequestURI != want.target || got.Host != "127.0.0.1:2379" {
				t.Errorf("got %s %s to %s", got.Method, got.RequestURI, got.Host)
			}
			if err := got.ParseForm(); err != nil || got.PostForm.Encode() != want.form {
				t.Errorf("form %q, %v, want %q", got.PostForm.Encode(), err, want.form)
			}
		})
	}
}

// TestWatchRequest sees that the places of key and index do not move when a
// number is written into the other.
func TestWatchRequest(t *testing.T) {
	r := shape{method: "GET", path: keyPath + "?wait=true&waitIndex={i}"}.requestTo("h", 0)
	r.setIndex(98)
	r.setKey(1237)
	r.setIndex(77)
	const want = "GET /v2/keys/bench-7/key-000000001237?wait=true&waitIndex=000000000077 HTTP/1.1\r\nHost: h\r\n\r\n"
	if string(r.bytes) != want {
		t.Errorf("got %q, want %q", r.bytes, want)
	}
}

// TestCycle sees the requests of a connection in their order.
func TestCycle(t *testing.T) {
	mixed := workloads()[slices.IndexFunc(workloads(), func(w workload) bool { return w.name == "mixed" })]
	local, remote := net.Pipe()
	defer local.Close()
	defer remote.Close()
	cs := clients{{conn: local}, {conn: remote}}
	cs.prepare(mixed.cycle, false, 5, func(int) picker { return always(3) })
	var methods [2]string
	for i, c := range cs {
		for range 20 {
			r, _ := c.next()
			methods[i] += string(r.bytes[:1])
		}
	}
	if want := [2]string{"GGGGGGGGGPGGGGGGGGGP", "GGGGGGGGPGGGGGGGGGPG"}; methods != want {
		t.Errorf("got %v, want %v: one in ten, and not all connections at the same time", methods, want)
	}
	cs.prepare([]shape{putKey(), getKey()}, true, 5, func(int) picker { return always(3) })
	if r, _ := cs[1].next(); r.bytes[0] != 'P' {
		t.Error("a cycle that has to be kept in order does not begin at its beginning")
	}
}

func TestSetUps(t *testing.T) {
	o := defaultOptions()
	base := setUp{1, 1, 64}
	got := o.setUps(workload{sized: true, wide: true})
	want := []setUp{base, {1, 1, 1 << 10}, {1, 1, 64 << 10}, {3, 1, 64}, {1, 4, 64}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := o.setUps(workload{}); !slices.Equal(got, []setUp{base}) {
		t.Errorf("of a workload that depends on nothing: %v", got)
	}
	if got := o.connectionsFor(base); !slices.Equal(got, o.connections) {
		t.Errorf("connections of the base: %v", got)
	}
	if got := o.connectionsFor(want[1]); !slices.Equal(got, []int{64}) {
		t.Errorf("connections of another set-up: %v", got)
	}
}

func TestPresetKeysArePicked(t *testing.T) {
	pick, again := anyOf(presetKeys, 3), anyOf(presetKeys, 3)
	seen := make(map[uint64]bool)
	for range 20_000 {
		key, more := pick()
		if other, _ := again(); other != key || !more {
			t.Fatal("the same seed picks other keys")
		}
		if key < 1 || key > presetKeys {
			t.Fatalf("key %d is not preset", key)
		}
		seen[key] = true
	}
	if len(seen) != presetKeys {
		t.Errorf("%d different keys, want all %d", len(seen), presetKeys)
	}
}

func TestCountUpIsShared(t *testing.T) {
	var last atomic.Uint64
	last.Store(10)
	a, b := countUp(&last, 13), countUp(&last, 13)
	for i, pick := range []picker{a, b, a} {
		if key, more := pick(); key != uint64(11+i) || !more {
			t.Errorf("pick %d: got %d, %v", i, key, more)
		}
	}
	if _, more := b(); more {
		t.Error("picked past the end")
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		args string
		err  string // "" = none
	}{
		{"", ""},
		{"--workloads get,put --connections 1,2,3 --servers etcd --members 3", ""},
		{"--scale-keys 10,5", "must ascend"},
		{"--value-size 64,0", "--value-size: 0 is not between"},
		{"--watchers ,", "--watchers: an empty list"},
		{"--against bin/witan-before", ""},
		{"--servers etcd,other,witan --against bin/witan-before", ""},
		{"--servers other,witan", `"other" needs --against`},
		{"--workloads got", `there is no "got"`},
		{"--servers consul", `there is no "consul"`},
		{"--connections 0", "not between 1 and 10000"},
		{"--members 1,2 --rounds -1", "--members: 2 is neither 1 nor 3"},
		{"--members 1,2 --rounds -1", "--rounds must not be negative"},
		{"--workloads ,", "an empty list"},
		{"get", `unexpected argument "get"`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseFlags(strings.Fields(tt.args), new(bytes.Buffer))
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got %v, want %q in it", err, tt.err)
			}
		})
	}
}
