package cluster

import "testing"

func TestSameURLs(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b []string
		want bool
	}{
		{"another order", []string{"http://127.0.0.1:1", "http://h.invalid:2"}, []string{"http://h.invalid:2", "http://127.0.0.1:1"}, true},
		{"name and address", []string{"http://127.0.0.1:2380"}, []string{"http://localhost:2380"}, true},
		{"IPv6 spelt out", []string{"http://[::1]:2380"}, []string{"http://[0:0:0:0:0:0:0:1]:2380"}, true},
		{"another port", []string{"http://127.0.0.1:2380"}, []string{"http://127.0.0.1:2381"}, false},
		{"one more", []string{"http://127.0.0.1:1"}, []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, false},
	} {
		if got := SameURLs(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
