package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"
)

// BenchmarkForward reads a key directly, through the gateway, and through the
// least that forwards at all: no failover, no hop-by-hop headers, no streams.
func BenchmarkForward(b *testing.B) {
	member := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Etcd-Index", "4")
		_, _ = io.WriteString(w, `{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}`)
	}))
	defer member.Close()
	g := Open(Config{Logger: zerolog.Nop(), Refresh: 1 << 40, FailureWait: 1 << 40})
	g.line.update(nil)
	g.line.endpoints = []endpoint{{url: parse(member.URL)}}
	defer func() { _ = g.Close(b.Context()) }()

	through := httptest.NewServer(http.HandlerFunc(g.handle))
	defer through.Close()
	byHand := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host = "http", member.Listener.Addr().String()
		resp, err := g.transport.RoundTrip(out)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer byHand.Close()

	for name, base := range map[string]string{"direct": member.URL, "gateway": through.URL, "by-hand": byHand.URL} {
		b.Run(name, func(b *testing.B) {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Get(base + "/v2/keys/a")
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}
