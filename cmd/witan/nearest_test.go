package main

import "testing"

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "abd", 1}, {"abc", "ac", 1}, {"abc", "abxc", 1}, {"abc", "acb", 1},
		{"ab", "ba", 1}, {"abcd", "badc", 2}, {"kitten", "sitting", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"name", "cors", "debug", "max-wals", "max-snapshots", "listen-peer-urls", "listen-client-urls"}
	for _, tt := range []struct{ word, want string }{
		{"naem", "name"},
		{"nam", "name"},
		{"NAME", "name"},
		{"listen_client_urls", "listen-client-urls"},
		{"ListenPeerURLs", "listen-peer-urls"},
		{"listen-client-url", "listen-client-urls"},
		{"max-wal", "max-wals"},
		{"port", ""},
		{"x", ""},
		{"something-else", ""},
	} {
		if got := nearest(tt.word, known); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
