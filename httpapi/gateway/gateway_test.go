package gateway

import (
	"bufio"
	"bytes"
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

// TestUnchanged compares what a member gets with what the client has sent.
func TestUnchanged(t *testing.T) {
	var head, body string
	member, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Close() }()
	go func() {
		conn, err := member.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		b := make([]byte, len("value=x%zz"))
		_, _ = io.ReadFull(r, b)
		body = string(b)
		fmt.Fprint(conn, "HTTP/1.1 201 Created\r\nX-Etcd-Index: 7\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"+
			"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok")
	}()
	g, base := startGateway(t, Config{}, "http://"+member.Addr().String())

	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprint(conn, "PUT //v2/keys/a%2fb//c?x=1;ttl=5&y=%zz HTTP/1.1\r\nHost: some.name:99\r\nAuthorization: Basic abc\r\n"+
		"Via: 1.0 fred\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Etcd-Index: 5\r\nConnection: X-Mine, Upgrade, close\r\nX-Mine: 1\r\n"+
		"Upgrade: x\r\nKeep-Alive: 1\r\nProxy-Authorization: p\r\nTe: trailers\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"a\r\nvalue=x%zz\r\n0\r\n\r\n")
	var resp *http.Response
	for r := bufio.NewReader(conn); resp == nil || resp.StatusCode == http.StatusContinue; {
		if resp, err = http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = resp.Body.Close() }()
	got, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusCreated || string(got) != "ok" || resp.Header.Get("X-Etcd-Index") != "7" {
		t.Errorf("answer: %v %s", resp, got)
	}
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate"} {
		if resp.Header.Get(name) != "" {
			t.Errorf("the client got the header %s", name)
		}
	}
	want := "PUT //v2/keys/a%2fb//c?x=1;ttl=5&y=%zz HTTP/1.1\r\nHost: some.name:99\r\nContent-Length: 10\r\nAuthorization: Basic abc\r\n" +
		"Via: 1.0 fred\r\nVia: 1.1 " + g.name + "\r\nX-Etcd-Index: 5\r\nX-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n"
	if head != want || body != "value=x%zz" {
		t.Errorf("the member got\n%q\n%q, want\n%q", head, body, want)
	}
}

// TestBody sends what is as long as it may be, and longer.
func TestBody(t *testing.T) {
	member := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	_, base := startGateway(t, Config{}, member.URL)
	for _, tc := range []struct {
		size   int
		status int
		body   string
	}{
		{maxBodyBytes, 200, "10485760"},
		{maxBodyBytes + 1, 413, `{"message":"proxy: the body of the request is longer than 10485760 bytes"}`},
	} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, tc.size))
			if chunked {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/v2/keys/a", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Expect", "100-continue") // so that nobody is cut off while sending
			if status, got := send(t, req); status != tc.status || got != tc.body {
				t.Errorf("%d bytes, chunked %t: %d %s", tc.size, chunked, status, got)
			}
		}
	}
	if n := member.asked.Load(); n != 2 {
		t.Errorf("the member was asked %d times", n)
	}
}

// TestReadOnly lets nothing but GET pass.
func TestReadOnly(t *testing.T) {
	member := startBackend(t, answer)
	_, base := startGateway(t, Config{ReadOnly: true}, member.URL)
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		if status, body := send(t, newRequest(t, method, base+"/v2/keys/a", "")); status != 501 || body != "" {
			t.Errorf("%s: %d %q", method, status, body)
		}
	}
	if n := member.asked.Load(); n != 0 {
		t.Errorf("the member was asked %d times", n)
	}
	if status, body := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != 200 || body != "GET " {
		t.Errorf("GET: %d %q", status, body)
	}
}

// TestOwnPaths asks for what the gateway answers itself.
func TestOwnPaths(t *testing.T) {
	member := startBackend(t, answer)
	g, base := startGateway(t, Config{}, member.URL)
	endpoints := `{"endpoints":["` + member.URL + `"]}` + "\n"
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/v2/config/local/proxy", 200, endpoints},
		{"PUT", "/v2/config/local/proxy", 405, "Method Not Allowed\n"},
		{"GET", "/livez", 200, "ok\n"},
		{"GET", "/readyz", 200, "ok\n"},
		{"POST", "/readyz", 405, "Method Not Allowed\n"},
		{"GET", "/health", 200, "GET "},
		{"GET", "/v2/config/local/proxy/", 200, "GET "},
		{"OPTIONS", "/v2/keys/a", 200, "OPTIONS "},
	} {
		if status, body := send(t, newRequest(t, tc.method, base+tc.path, "")); status != tc.status || body != tc.body {
			t.Errorf("%s %s: %d %q", tc.method, tc.path, status, body)
		}
	}
	setLine(g)
	for path, want := range map[string]string{
		"/livez": "200 ok\n", "/readyz": "503 no member is known yet\n", "/v2/config/local/proxy": "200 {\"endpoints\":[]}\n",
	} {
		status, body := send(t, newRequest(t, "GET", base+path, ""))
		if got := fmt.Sprint(status, " ", body); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestLoop has a member that calls the gateway's address its own.
func TestLoop(t *testing.T) {
	g, base := startGateway(t, Config{})
	setLine(g, base)
	if status, body := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != 508 || !strings.Contains(body, "--advertise-client-urls") {
		t.Errorf("%d %s", status, body)
	}
}

// TestCORS has members and a gateway that disagree about who may read.
func TestCORS(t *testing.T) {
	member := startBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		allowOrigin(w.Header(), []string{"*"}, "")
	})
	for _, tc := range []struct {
		cors         []string
		origin, want string
	}{
		{nil, "http://a", "*"},
		{[]string{"http://a"}, "http://a", "http://a"},
		{[]string{"http://a"}, "http://b", ""},
		{[]string{"*"}, "http://b", "*"},
	} {
		_, base := startGateway(t, Config{CORS: tc.cors}, member.URL)
		for _, method := range []string{"GET", "OPTIONS"} {
			req := newRequest(t, method, base+"/v2/keys/a", "")
			req.Header.Set("Origin", tc.origin)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := strings.Join(resp.Header["Access-Control-Allow-Origin"], "+"); resp.StatusCode != http.StatusOK || got != tc.want {
				t.Errorf("%v, %s of %s: %d %q", tc.cors, method, tc.origin, resp.StatusCode, got)
			}
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
