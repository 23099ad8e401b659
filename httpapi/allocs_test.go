package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
	"github.com/witan-kv/witan/store"
)

// discard is a response nobody reads.
type discard struct{ h http.Header }

func (d discard) Header() http.Header             { return d.h }
func (d discard) Write(p []byte) (int, error)     { return len(p), nil }
func (d discard) WriteHeader(int)                 {}
func (d discard) SetReadDeadline(time.Time) error { return nil }

// hotRequests are the requests that must be cheap.
var hotRequests = []struct {
	name, method, target, body string
}{
	{"get", "GET", "/v2/keys/dir/a", ""},
	{"go client's get", "GET", "/v2/keys/dir/a?quorum=true&recursive=false&sorted=false", ""},
	{"put", "PUT", "/v2/keys/dir/a", "value=0123456789012345678901234567890123456789012345678901234567890123"},
	{"missing", "GET", "/v2/keys/dir/b", ""},
}

// hot prepares one of them on a member with a key; each call of run serves it once.
func hot(tb testing.TB, i int) (m *member, run func()) {
	tb.Helper()
	req := hotRequests[i]
	m = newMember(tb)
	set(m, "/dir/a", "value")
	h := httpapi.NewServer(m, httpapi.Config{Logger: zerolog.Nop()}).Handler()
	body := strings.NewReader(req.body)
	r := httptest.NewRequest(req.method, req.target, body)
	if req.body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := discard{http.Header{}}
	return m, func() {
		clear(w.h)
		body.Reset(req.body)
		h.ServeHTTP(w, r)
	}
}

// TestHotPathAllocs guards against a handler that has become wasteful. What
// the store allocates for the same operation is not the handler's.
func TestHotPathAllocs(t *testing.T) {
	const allowed = 15
	key := store.ParseKey("/dir/a")
	for i, req := range hotRequests {
		m, run := hot(t, i)
		all := testing.AllocsPerRun(200, run)
		below := testing.AllocsPerRun(200, func() {
			if req.method == "PUT" {
				_, _ = m.Do(t.Context(), store.Command{Op: store.OpSet, Key: key, Value: "value"}, 0)
			} else {
				_, _ = m.Get(t.Context(), cluster.Read{Key: store.ParseKey(strings.TrimPrefix(r(req.target), "/v2/keys"))})
			}
		})
		t.Logf("%s: %v allocations, %v of them below", req.name, all, below)
		if all-below > allowed {
			t.Errorf("%s: %v allocations, %v of them below; want at most %d more", req.name, all, below, allowed)
		}
	}
}

// r returns the path of a target.
func r(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

func BenchmarkHandler(b *testing.B) {
	for i, req := range hotRequests {
		b.Run(req.name, func(b *testing.B) {
			_, run := hot(b, i)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
