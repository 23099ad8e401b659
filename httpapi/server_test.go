package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
	"github.com/witan-kv/witan/store"
)

// request sends one request and returns its answer with the body read.
func request(t *testing.T, address, method, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	resp, err := c.do(method, target, body, headers)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// gate is a member whose writes wait for leave.
type gate struct {
	*member
	entered, leave chan struct{}
}

func (g *gate) Do(ctx context.Context, c store.Command, seen uint64) (cluster.Answer, error) {
	g.entered <- struct{}{}
	select {
	case <-g.leave:
		return g.member.Do(ctx, c, seen)
	case <-ctx.Done():
		return cluster.Answer{}, fmt.Errorf("%w: %w", cluster.ErrStopped, ctx.Err())
	}
}

// startGated starts a server with one write in progress, whose answer will
// come on the channel.
func startGated(t *testing.T, m *member) (g *gate, s *httpapi.Server, address string, answer chan string) {
	t.Helper()
	g = &gate{m, make(chan struct{}), make(chan struct{})}
	s = httpapi.NewServer(g, httpapi.Config{Logger: zerolog.Nop()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	answer = make(chan string, 1)
	wg.Go(func() {
		c, err := dial(l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.close()
		resp, err := c.do("PUT", "/v2/keys/a", "value=1", nil)
		if err != nil {
			answer <- "cut off"
			return
		}
		answer <- resp.Status
	})
	t.Cleanup(wg.Wait)
	<-g.entered
	return g, s, l.Addr().String(), answer
}

// Close ends the watches at once and lets writes finish.
func TestCloseDrains(t *testing.T) {
	m := newMember(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	g, s, address, answer := startGated(t, m)
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	watch, err := c.do("GET", "/v2/keys/a?wait=true", "", nil)
	if err != nil {
		t.Fatal(err)
	}

	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	if text, err := io.ReadAll(watch.Body); err != nil || len(text) > 0 {
		t.Errorf("the watch ended with %q, %v; want an empty body", text, err)
	}
	select {
	case err := <-closed:
		t.Errorf("closed before the write was through: %v", err)
	default:
	}
	close(g.leave)
	if got := <-answer; got != "201 Created" {
		t.Errorf("the write in progress got %s", got)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := dial(address); err == nil {
		t.Error("the server still accepts connections")
	}
}

// What is not through when Close's time is up is cut off.
func TestCloseCutsOff(t *testing.T) {
	_, s, _, answer := startGated(t, newMember(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); err == nil {
		t.Error("close does not say that it cut off a request")
	}
	if got := <-answer; got == "201 Created" {
		t.Error("the write went through")
	}
}

// A panic costs its own request and nothing else.
func TestPanic(t *testing.T) {
	var out lockedBuffer
	m := newMember(t)
	address := serve(t, m, httpapi.Config{Logger: zerolog.New(&out)})
	m.setPanics(true)
	resp, body := request(t, address, "PUT", "/v2/keys/a", "value=secret")
	if resp.StatusCode != http.StatusInternalServerError || body != `{"message":"Internal Server Error"}` {
		t.Errorf("got %s %s", resp.Status, body)
	}
	m.setPanics(false)
	if resp, _ := request(t, address, "GET", "/v2/keys/", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", resp.Status)
	}
	if log := out.String(); !strings.Contains(log, "told to panic") || !strings.Contains(log, "member_test.go") || strings.Contains(log, "secret") {
		t.Errorf("the log says %s", log)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The access log exists at debug level only and shows no parameters.
func TestAccessLog(t *testing.T) {
	for level, want := range map[zerolog.Level]bool{zerolog.DebugLevel: true, zerolog.InfoLevel: false} {
		var out lockedBuffer
		address := serve(t, newMember(t), httpapi.Config{Logger: zerolog.New(&out).Level(level)})
		request(t, address, "PUT", "/v2/keys/a%0ab?prevExist=true", "value=secret")
		if want {
			eventually(t, "a line in the log", func() bool { return strings.Contains(out.String(), `"path":"/v2/keys/a\nb"`) })
		}
		log := out.String()
		if strings.Contains(log, "secret") || strings.Contains(log, "prevExist") || strings.Contains(log, `"status":404`) != want {
			t.Errorf("at level %v the log says %q", level, log)
		}
		// Streams pass through the recorder.
		c, err := dial(address)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.do("GET", "/v2/keys/a?wait=true&stream=true", "", nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("a watch at level %v: %v", level, err)
		}
		c.close()
	}
}

func TestCORS(t *testing.T) {
	const methods, headers = "POST, GET, OPTIONS, PUT, DELETE", "accept, content-type, authorization"
	tests := []struct {
		allowed      []string
		origin, want string
	}{
		{nil, "http://a", ""},
		{[]string{"http://a"}, "http://a", "http://a"},
		{[]string{"http://a"}, "http://a.evil", ""},
		{[]string{"http://a"}, "", ""},
		{[]string{"http://b", "*"}, "http://a", "*"},
		{[]string{"*"}, "", "*"},
	}
	for _, tt := range tests {
		address := serve(t, newMember(t), httpapi.Config{CORS: tt.allowed})
		for _, method := range []string{"GET", "OPTIONS", "PATCH"} {
			var given []string
			if tt.origin != "" {
				given = []string{"Origin: " + tt.origin}
			}
			resp, _ := request(t, address, method, "/v2/keys/", "", given...)
			wantMethods, wantHeaders := methods, headers
			if tt.want == "" {
				wantMethods, wantHeaders = "", ""
			}
			h := resp.Header
			if h.Get("Access-Control-Allow-Origin") != tt.want || h.Get("Access-Control-Allow-Methods") != wantMethods ||
				h.Get("Access-Control-Allow-Headers") != wantHeaders {
				t.Errorf("%v, %s from %q: got %v", tt.allowed, method, tt.origin, h)
			}
		}
	}
}

// Several listeners, each served until the end.
func TestTwoListeners(t *testing.T) {
	s := httpapi.NewServer(newMember(t), httpapi.Config{Version: "3.4.23"})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = s.Close(context.Background()) }()
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := s.Serve(l); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		if _, body := request(t, l.Addr().String(), "GET", "/version", ""); body != `{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}` {
			t.Errorf("got %s", body)
		}
	}
}

// Serve tells of a listener that breaks.
func TestBrokenListener(t *testing.T) {
	s := httpapi.NewServer(newMember(t), httpapi.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := s.Serve(l); err == nil {
		t.Error("no error")
	}
}

func TestLimits(t *testing.T) {
	address := serve(t, newMember(t), httpapi.Config{})
	resp, body := request(t, address, "PUT", "/v2/keys/a", "value="+strings.Repeat("x", 10<<20))
	want := `{"errorCode":210,"message":"Invalid POST form","cause":"http: POST too large","index":0}` + "\n"
	if resp.StatusCode != http.StatusBadRequest || body != want {
		t.Errorf("a form of more than 10 MiB: %s %s", resp.Status, body)
	}
	if resp, body := request(t, address, "PUT", "/v2/keys/a", "value="+strings.Repeat("x", 1<<20+1)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a value of more than 1 MiB: %s %s", resp.Status, body)
	}
	if resp, body := request(t, address, "PUT", "/v2/keys/a", "value="+strings.Repeat("%78", 1<<20)); resp.StatusCode != http.StatusCreated ||
		len(body) < 1<<20 || resp.ContentLength != int64(len(body)) {
		t.Errorf("a value of 1 MiB: %s, %d bytes, length %d", resp.Status, len(body), resp.ContentLength)
	}
	if resp, _ := request(t, address, "GET", "/v2/keys/a", "", "X-Long: "+strings.Repeat("x", 2<<20)); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("2 MiB of headers: %s", resp.Status)
	}
}

// What net/http itself refuses never reaches a handler, and is never two answers.
func TestMalformedRequests(t *testing.T) {
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	for name, text := range map[string]string{
		"two lengths":         "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\nvalue=1",
		"negative length":     "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: -7\r\n\r\nvalue=1",
		"space before colon":  "GET /v2/keys/a HTTP/1.1\r\nHost: x\r\nX-Etcd-Index : 1\r\n\r\n",
		"folded header":       "GET /v2/keys/a HTTP/1.1\r\nHost: x\r\n X: y\r\n\r\n",
		"no host":             "GET /v2/keys/a HTTP/1.1\r\n\r\n",
		"broken path escape":  "GET /v2/keys/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"unknown encoding":    "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xyz\r\n\r\n",
		"control in the path": "GET /v2/keys/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c, err := dial(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c.r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := bytes.Count(answer, []byte("HTTP/1.1 ")); n != 1 || !bytes.Contains(answer, []byte("HTTP/1.1 4")) && !bytes.Contains(answer, []byte("HTTP/1.1 501")) {
			t.Errorf("%s: answered with %q", name, answer)
		}
		c.close()
	}
	if at := m.st.Frontier(); at != 3 {
		t.Errorf("something was written: index %d", at)
	}
}

// /v2/stats/groups is ours: what it says is what the member knows.
func TestGroupStats(t *testing.T) {
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	request(t, address, "PUT", "/v2/keys/a", "value=1")
	raftIndex, index, hash := m.st.Digest()
	want := fmt.Sprintf(`{"closedIndex":%d,"groups":[{"group":0,"leader":"8e9e05c52164694d","term":2,"raftIndex":%d,"index":%d,"hash":"%x",`+
		`"voters":["8e9e05c52164694d"]}],"meta":{"leader":"8e9e05c52164694d","term":3,"voters":[]}}`,
		index, raftIndex, index, hash)
	if _, body := request(t, address, "GET", "/v2/stats/groups", ""); body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

// A client that announces a body and does not send it is given up in time,
// whether or not the body would have been read.
func TestSlowBody(t *testing.T) {
	m := newMember(t)
	address := serveWith(t, m, func(s *httpapi.Server) { s.SetBodyTimeout(200 * time.Millisecond) })
	const tooSlow = `"cause":"the body of the request took too long"`
	for head, want := range map[string]string{
		"PUT /v2/keys/a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7":                tooSlow,
		"PUT /v2/keys/a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked":       tooSlow,
		"PUT /v2/keys/a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20000000":         tooSlow,
		"GET /v2/keys/ HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7":                 `"action":"get"`,
		"DELETE /v2/keys/nope HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7":          `"errorCode":100`,
		"PUT /v2/keys/a?prevExist=true HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nX: y": `"errorCode":100`,
	} {
		c := openConn(t, address)
		if _, err := io.WriteString(c, head+"\r\nHost: x\r\n\r\n7\r\nva"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c.r) // to the connection's end
		if err != nil || !bytes.Contains(answer, []byte(want)) {
			t.Errorf("%s:\ngot %q, %v", head, answer, err)
		}
	}
	if at := m.st.Frontier(); at != 3 {
		t.Errorf("half a form was written: index %d", at)
	}
}

// A client that has sent its body may wait for the answer as long as it likes.
func TestSlowAnswer(t *testing.T) {
	const limit = 100 * time.Millisecond
	g := &gate{newMember(t), make(chan struct{}), make(chan struct{})}
	address := serveWith(t, g, func(s *httpapi.Server) { s.SetBodyTimeout(limit) })
	c := openConn(t, address)
	if _, err := io.WriteString(c, "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1"); err != nil {
		t.Fatal(err)
	}
	<-g.entered
	<-time.After(3 * limit) // it is time that must do nothing here
	close(g.leave)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("got %s", resp.Status)
	}
}

// Every route has been asked for by a script, or is named here with its test.
func TestEveryRouteIsTested(t *testing.T) {
	elsewhere := map[string]string{
		"/v2/stats/groups": "TestGroupStats",
		"/v2/members/*":    "cluster.txt, by a member's id",
		"/v2/backup":       "TestBackup",
	}
	var asked strings.Builder
	for _, file := range scripts(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asked.Write(text)
	}
	routes := httpapi.NewServer(newMember(t), httpapi.Config{}).Handler().(chi.Routes)
	for _, route := range routes.Routes() {
		if elsewhere[route.Pattern] == "" && !strings.Contains(asked.String(), "\nGET "+route.Pattern+"\n") {
			t.Errorf("nobody asks for %s", route.Pattern)
		}
	}
}
