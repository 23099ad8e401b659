package main

import (
	"bufio"
	"bytes"
	"net/http"
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
	}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			want, ok := tests[w.name]
			if !ok {
				t.Fatal("this workload has no row in the table of this test")
			}
			r := w.requestTo("127.0.0.1:2379", 5)
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

func TestPresetKeysArePicked(t *testing.T) {
	pick, again := anyPreset(3), anyPreset(3)
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
		{"--against bin/witan-before", ""},
		{"--servers etcd,other,witan --against bin/witan-before", ""},
		{"--servers other,witan", `"other" needs --against`},
		{"--workloads got", `there is no "got"`},
		{"--servers consul", `there is no "consul"`},
		{"--connections 0", "not between 1 and 10000"},
		{"--members 2 --rounds 0", "--members must be 1 or 3"},
		{"--members 2 --rounds 0", "--rounds must be at least 1"},
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
