package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/httpapi"
)

// patience is how long anything may take before a test gives up.
const patience = 30 * time.Second

const directory = "/v2/keys/_etcd/registry/"

// startService runs a server of the v2 API and returns its address.
func startService(t *testing.T, groups int) string {
	t.Helper()
	node := clustertest.Start(t, clustertest.Options{Groups: groups}).Nodes[0]
	s := httpapi.NewServer(node, httpapi.Config{Logger: zerolog.Nop(), MaxValueBytes: 1 << 20, Version: "2.3.8"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		serving.Wait()
	})
	return "http://" + l.Addr().String()
}

// set writes a key below the directory of tokens.
func set(t *testing.T, service, key, value string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, service+directory+key,
		strings.NewReader(url.Values{"value": {value}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s", key, resp.Status)
	}
}

// token makes a token for a cluster of a size and returns its URL.
func token(t *testing.T, service, size string) string {
	t.Helper()
	name := path.Base(t.Name())
	set(t, service, name+"/_config/size", size)
	return service + directory + name
}

// member is the i-th of some members.
func member(i int) cluster.Peer {
	return cluster.Peer{Name: fmt.Sprintf("m%d", i), URLs: []string{fmt.Sprintf("http://10.0.0.%d:2380", i)}}
}

func at(u string) Service { return Service{URL: u, Logger: zerolog.Nop(), pause: time.Millisecond} }

// joined is how a Join ended.
type joined struct {
	peers []cluster.Peer
	err   error
}

// join runs Join beside the test.
func join(t *testing.T, s Service, self cluster.Peer) <-chan joined {
	done := make(chan joined, 1)
	go func() {
		peers, err := Join(t.Context(), s, self)
		done <- joined{peers, err}
	}()
	return done
}

func wait(t *testing.T, done <-chan joined) joined {
	t.Helper()
	select {
	case j := <-done:
		return j
	case <-time.After(patience):
		t.Fatal("it does not end")
		return joined{}
	}
}

// front forwards to a service and sees what passes.
type front struct {
	service string
	// before may answer instead; it returns whether it has.
	before func(http.ResponseWriter, *http.Request) bool

	mu   sync.Mutex
	seen []string // guarded by mu
}

func startFront(t *testing.T, f *front) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.seen = append(f.seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	f.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, f.service+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	out.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	w.Header().Set("X-Etcd-Index", resp.Header.Get("X-Etcd-Index"))
	w.WriteHeader(resp.StatusCode)
	_ = http.NewResponseController(w).Flush()
	_, _ = io.Copy(w, resp.Body) // the client may have gone
}

func (f *front) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// TestRequests compares what is sent with what etcd 3.4 sends.
func TestRequests(t *testing.T) {
	f := &front{service: startService(t, 1)}
	service := startFront(t, f)
	u := token(t, f.service, "2")
	u = strings.Replace(u, f.service, service, 1)
	self := cluster.Peer{Name: "a", URLs: []string{"http://10.0.0.1:7001", "http://10.0.0.1:2380"}}
	id := strconv.FormatUint(cluster.MemberID(self.URLs, u), 16)

	done := join(t, at(u), self)
	first := directory + "TestRequests"
	want := []string{
		"GET " + first + "/_config/size",
		"GET " + first,
		"PUT " + first + "/" + id + "?prevExist=false value=a%3Dhttp%3A%2F%2F10.0.0.1%3A2380%2Ca%3Dhttp%3A%2F%2F10.0.0.1%3A7001",
		"GET " + first + "/" + id + "?wait=true&waitIndex=5",
		"GET " + first + "/_config/size",
		"GET " + first,
		"GET " + first + "?wait=true&recursive=true&waitIndex=6",
	}
	for end := time.Now().Add(patience); len(f.requests()) < len(want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	set(t, f.service, "TestRequests/bb", "b=http://10.0.0.2:2380")
	want = append(want, "GET "+first+"/_config/size", "GET "+first)
	got := wait(t, done)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff(want, f.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	wantPeers := []cluster.Peer{
		{Name: "a", URLs: []string{"http://10.0.0.1:2380", "http://10.0.0.1:7001"}},
		{Name: "b", URLs: []string{"http://10.0.0.2:2380"}},
	}
	if diff := cmp.Diff(wantPeers, got.peers); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

// TestFailures lets the service fail in every way that may pass, at every
// request once, and expects the member to join all the same.
func TestFailures(t *testing.T) {
	failures := map[string]func(http.ResponseWriter, *http.Request){
		"500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errorCode":300}`, http.StatusInternalServerError)
		},
		"503":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusServiceUnavailable) },
		"429":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "later", http.StatusTooManyRequests) },
		"hang": hangUp,
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"node":`))
		},
	}
	service := startService(t, 1)
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			turns := map[string]int{}
			var mu sync.Mutex
			f := &front{service: service, before: func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				turn := turns[r.Method+r.URL.Path]
				turns[r.Method+r.URL.Path]++
				if turn%2 == 0 {
					fail(w, r)
				}
				return turn%2 == 0
			}}
			u := strings.Replace(token(t, service, "2"), service, startFront(t, f), 1)
			done := join(t, at(u), member(1))
			set(t, service, name+"/2", "m2=http://10.0.0.2:2380")
			if got := wait(t, done); got.err != nil || len(got.peers) != 2 {
				t.Errorf("%v, %v", got.peers, got.err)
			}
		})
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// TestLostAnswer registers a member whose first registration was done but not
// answered.
func TestLostAnswer(t *testing.T) {
	var lost sync.Once
	f := &front{service: startService(t, 1)}
	u := token(t, f.service, "1")
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		isLost := false
		if r.Method == http.MethodPut {
			lost.Do(func() {
				id := path.Base(r.URL.Path)
				set(t, f.service, "TestLostAnswer/"+id, "m1=http://10.0.0.1:2380")
				hangUp(w, r)
				isLost = true
			})
		}
		return isLost
	}
	got := wait(t, join(t, at(strings.Replace(u, f.service, startFront(t, f), 1)), member(1)))
	if diff := cmp.Diff([]cluster.Peer{member(1)}, got.peers); got.err != nil || diff != "" {
		t.Errorf("%v\n%s", got.err, diff)
	}
}

// TestNotAService asks servers that are something else.
func TestNotAService(t *testing.T) {
	var own string
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello")) }, "bad discovery endpoint"},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"node":null}`)) }, "bad discovery endpoint"},
		{"not found", http.NotFound, `answers GET /v2/keys/_etcd/registry/x/_config/size with 404 Not Found: "404 page not found\n"`},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"node":{"value":"` + strings.Repeat("1", 2*maxAnswer) + `"}}`))
		}, "bad discovery endpoint"},
		{"circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, own, http.StatusFound) }, "redirects without end"},
		{"nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, "redirects to nowhere"},
		{"file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "redirects to nowhere"},
		{"no rights", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errorCode":110,"message":"The request requires user authentication","cause":"/x"}`, http.StatusUnauthorized)
		}, "reading the size: 127.0.0.1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			own = server.URL
			got := wait(t, join(t, at(server.URL+directory+"x"), member(1)))
			if got.err == nil || !strings.Contains(got.err.Error(), tt.want) {
				t.Errorf("%v, want %q", got.err, tt.want)
			}
		})
	}
}

// TestRedirect joins through a front-end that sends everybody elsewhere.
func TestRedirect(t *testing.T) {
	service := startService(t, 1)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			u := token(t, service, "1")
			elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, service+r.URL.RequestURI(), status)
			}))
			defer elsewhere.Close()
			got := wait(t, join(t, at(strings.Replace(u, service, elsewhere.URL, 1)), member(1)))
			if diff := cmp.Diff([]cluster.Peer{member(1)}, got.peers); got.err != nil || diff != "" {
				t.Errorf("%v\n%s", got.err, diff)
			}
		})
	}
}

// TestProxy joins through an HTTP proxy, which sees whole URLs.
func TestProxy(t *testing.T) {
	service := startService(t, 1)
	f := &front{service: service}
	proxy := startFront(t, f)
	for _, address := range []string{proxy, strings.TrimPrefix(proxy, "http://")} {
		s := at("http://discovery.invalid" + directory + "TestProxy")
		token(t, service, "1")
		s.Proxy = address
		before := len(f.requests())
		if got := wait(t, join(t, s, member(1))); got.err != nil {
			t.Errorf("%s: %v", address, got.err)
		}
		if len(f.requests()) == before {
			t.Errorf("%s: the proxy saw nothing", address)
		}
	}
}

// TestSettings refuses what cannot be a service or a proxy.
func TestSettings(t *testing.T) {
	for _, tt := range []struct{ url, proxy, want string }{
		{"discovery.example.com/x", "", "--discovery: discovery.example.com/x is not the URL of a token"},
		{"ftp://h/x", "", "is not the URL of a token"},
		{"http://h:2379", "", "is not the URL of a token"},
		{"http://h:2379/", "", "is not the URL of a token"},
		{"http://h/x?quorum=true", "", "is not the URL of a token"},
		{"http://h:port/x", "", "is not a URL"},
		{"http://h/x", "socks5://h", "--discovery-proxy: \"socks5://h\" is not the address of an HTTP proxy"},
		{"http://h/x", "http://", "is not the address of an HTTP proxy"},
	} {
		_, err := Join(t.Context(), Service{URL: tt.url, Proxy: tt.proxy}, member(1))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s by %q: %v, want %q", tt.url, tt.proxy, err, tt.want)
		}
	}
}

// TestEndsWithContext stops members that wait: for the others, for a service
// that is not there and for one that says nothing.
func TestEndsWithContext(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	stopped := errors.New("stopped")
	waiting := token(t, startService(t, 1), "3")
	for name, s := range map[string]Service{
		"others":     at(waiting),
		"no service": {URL: "http://127.0.0.1:1" + directory + "x", Logger: zerolog.Nop(), pause: time.Hour},
		"silence":    at(silent.URL + directory + "x"),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan joined, 1)
			go func() {
				peers, err := Join(ctx, s, member(1))
				done <- joined{peers, err}
			}()
			time.AfterFunc(50*time.Millisecond, func() { cancel(stopped) })
			begun := time.Now()
			if got := wait(t, done); !errors.Is(got.err, stopped) {
				t.Errorf("ended with %v", got.err)
			}
			if took := time.Since(begun); took > requestTimeout/2 {
				t.Errorf("ended after %v", took)
			}
		})
	}
}
