package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// patience is how long anything may take before a test gives up.
const patience = 20 * time.Second

// backend stands where a member's client port would be.
type backend struct {
	*httptest.Server
	asked atomic.Int32
}

func startBackend(t *testing.T, h http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

// answer is a backend that is well.
func answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s", r.Method, body)
}

// hangUp reads the whole request and goes without a word.
func hangUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// hang reads the whole request and says nothing for as long as it can.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// gone returns a URL where nobody listens.
func gone(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// startGateway returns a gateway whose line is urls and its own URL.
func startGateway(t *testing.T, c Config, urls ...string) (*Gateway, string) {
	t.Helper()
	c.Logger = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)
	if c.Refresh == 0 {
		c.Refresh = time.Hour
	}
	if c.FailureWait == 0 {
		c.FailureWait = time.Hour
	}
	g := Open(c)
	setLine(g, urls...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return g, "http://" + l.Addr().String()
}

func setLine(g *Gateway, urls ...string) {
	g.line.mu.Lock()
	defer g.line.mu.Unlock()
	g.line.endpoints = nil
	for _, u := range urls {
		g.line.endpoints = append(g.line.endpoints, endpoint{url: parse(u)})
	}
}

func parse(raw string) url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return *u
}

func newRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send returns the status and the body of an answer.
func send(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// TestFailover sends a request to a line of two, of which the first has some
// fault and the second is well.
func TestFailover(t *testing.T) {
	const lost = "may have been done or not"
	internal := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no quorum", http.StatusInternalServerError)
	}
	for _, tc := range []struct {
		name   string
		first  http.HandlerFunc // nil = nobody listens
		method string
		status int
		body   string // or a part of it
		second int32  // requests that the second member got
		blamed bool   // the first is left alone
	}{
		{"nobody there, read", nil, "GET", 200, "GET ", 1, true},
		{"nobody there, write", nil, "PUT", 200, "PUT value=x", 1, true},
		{"nobody there, create", nil, "POST", 200, "POST value=x", 1, true},
		{"nobody there, delete", nil, "DELETE", 200, "DELETE ", 1, true},
		{"hangs up, read", hangUp, "GET", 200, "GET ", 1, true},
		{"hangs up, head", hangUp, "HEAD", 200, "", 1, true},
		{"hangs up, write", hangUp, "PUT", 502, lost, 0, true},
		{"hangs up, create", hangUp, "POST", 502, lost, 0, true},
		{"hangs up, delete", hangUp, "DELETE", 502, lost, 0, true},
		{"silent, read", hang, "GET", 200, "GET ", 1, true},
		{"silent, write", hang, "PUT", 502, lost, 0, true},
		{"error, read", internal, "GET", 500, "no quorum\n", 0, false},
		{"error, write", internal, "PUT", 500, "no quorum\n", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := gone(t)
			if tc.first != nil {
				first = startBackend(t, tc.first).URL
			}
			second := startBackend(t, answer)
			g, base := startGateway(t, Config{ReadTimeout: 300 * time.Millisecond}, first, second.URL)
			body := ""
			if tc.method == "PUT" || tc.method == "POST" {
				body = "value=x"
			}
			status, got := send(t, newRequest(t, tc.method, base+"/v2/keys/a", body))
			if status != tc.status || !strings.Contains(got, tc.body) {
				t.Errorf("got %d %q, want %d %q", status, got, tc.status, tc.body)
			}
			if n := second.asked.Load(); n != tc.second {
				t.Errorf("the second member was asked %d times, want %d", n, tc.second)
			}
			if blamed := g.line.candidates()[0] == parse(second.URL); blamed != tc.blamed {
				t.Errorf("the line is %v", texts(g.line.candidates()))
			}
		})
	}
}

// TestNobody has no member that answers.
func TestNobody(t *testing.T) {
	_, base := startGateway(t, Config{})
	if status, body := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != 503 ||
		body != `{"message":"proxy: zero endpoints currently available"}` {
		t.Errorf("no member known: %d %s", status, body)
	}
	_, base = startGateway(t, Config{}, gone(t), gone(t))
	for range 2 { // the second time both are left alone, and tried all the same
		if status, body := send(t, newRequest(t, "PUT", base+"/v2/keys/a", "value=x")); status != 502 ||
			body != `{"message":"proxy: unable to get response from 2 endpoint(s)"}` {
			t.Errorf("no member there: %d %s", status, body)
		}
	}
}

// TestNoRepeat breaks a connection that was used before, which net/http takes
// as a reason to send some requests again by itself.
func TestNoRepeat(t *testing.T) {
	member := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			hangUp(w, r)
		}
	})
	_, base := startGateway(t, Config{}, member.URL)
	for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		send(t, newRequest(t, "GET", base+"/v2/keys/a", "")) // leaves a connection
		before := member.asked.Load()
		req := newRequest(t, "DELETE", base+"/v2/keys/a", "")
		req.Header.Set(key, "1")
		if status, body := send(t, req); status != 502 {
			t.Errorf("%d %s", status, body)
		}
		if n := member.asked.Load() - before; n != 1 {
			t.Errorf("%s: the request arrived %d times", key, n)
		}
	}
}

// TestClose ends watches at once and lets writes finish.
func TestClose(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	arrived, finish := make(chan struct{}), make(chan struct{})
	member := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-finish
		fmt.Fprint(w, "done")
	}))
	g := Open(Config{Logger: zerolog.Nop(), Refresh: time.Hour, FailureWait: time.Hour})
	setLine(g, member.URL)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	base := "http://" + l.Addr().String()

	watch, err := http.DefaultClient.Do(newRequest(t, "GET", base+"/v2/keys/a?wait=true", ""))
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan string, 1)
	go func() {
		_, body := send(t, newRequest(t, "PUT", base+"/v2/keys/a", "value=x"))
		written <- body
	}()
	<-arrived
	closed := make(chan error, 1)
	go func() { closed <- g.Close(t.Context()) }()
	if body, err := io.ReadAll(watch.Body); err != nil || len(body) != 0 {
		t.Errorf("the watch ended with %q, %v", body, err)
	}
	_ = watch.Body.Close()
	select {
	case err := <-closed:
		t.Errorf("Close did not wait for the write: %v", err)
	default:
	}
	close(finish)
	if got := <-written; got != "done" {
		t.Errorf("the write got %q", got)
	}
	if err := errors.Join(<-closed, <-served); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	member.Close()
	goleak.VerifyNone(t, leaks)
}

// TestCloseCuts gives up on a write that does not end.
func TestCloseCuts(t *testing.T) {
	member := startBackend(t, hang)
	g := Open(Config{Logger: zerolog.Nop(), Refresh: time.Hour, FailureWait: time.Hour})
	setLine(g, member.URL)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(newRequest(t, "PUT", "http://"+l.Addr().String()+"/v2/keys/a", "value=x"))
		if err == nil {
			_ = resp.Body.Close()
			err = errors.New(resp.Status)
		}
		answered <- err
	}()
	eventually(t, "the write arrives", func() bool { return member.asked.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the write was answered")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestTimedConn talks to somebody who neither sends nor reads.
func TestTimedConn(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	c := &timedConn{Conn: near, read: time.Millisecond, write: time.Millisecond}
	for name, use := range map[string]func([]byte) (int, error){"read": c.Read, "write": c.Write} {
		if _, err := use(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
