package park_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/httpapi/park"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// patience bounds every wait.
const patience = 20 * time.Second

const headerTimeout = 300 * time.Millisecond

// stand is a server whose watches park: a real store, a real hub, and a
// handler that answers everything else with what it was asked.
type stand struct {
	hub     *watch.Hub
	lot     *park.Lot
	http    *http.Server
	address string

	mu    sync.Mutex // held over Apply and Publish
	st    *store.Store
	raft  uint64
	index uint64
}

// way is how connections come to the lot.
type way string

const (
	admitted way = "admitted"   // at once
	taken    way = "taken over" // from net/http
	bare     way = "bare"       // at once, and it cannot see what they are made of
)

var ways = []way{admitted, taken, bare}

// newStand starts a server that ends with the test.
func newStand(t *testing.T, c park.Config, by way) *stand {
	t.Helper()
	st, err := store.Open(store.Options{Dir: t.TempDir(), Groups: 1, FirstIndex: 3, History: 1000, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{st: st, hub: watch.NewHub(st, st.Frontier(), 1<<20)}
	t.Cleanup(func() {
		s.hub.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Handler, c.Context, c.Logger = http.HandlerFunc(s.handle), t.Context(), zerolog.Nop()
	if c.Encode == nil {
		c.Encode = encode
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = patience
	}
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = headerTimeout
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = patience
	}
	s.lot = park.New(c)
	s.http = &http.Server{Handler: c.Handler, ReadHeaderTimeout: c.HeaderTimeout, IdleTimeout: c.IdleTimeout}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	if by == bare {
		l = bareListener{l}
	}
	if by != taken {
		l = s.lot.Admit(l)
	}
	var serving sync.WaitGroup
	for _, l := range []net.Listener{l, s.lot.Listener()} {
		serving.Go(func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("serve: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		s.close(t)
		serving.Wait()
	})
	return s
}

// close ends the server and sees to it that nothing is left.
func (s *stand) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
	if err := s.lot.Close(ctx); err != nil {
		t.Errorf("close the lot: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return !strings.Contains(stacks(), "httpapi/park.(") })
}

// bareListener has connections that are nothing but a net.Conn.
type bareListener struct{ net.Listener }

func (l bareListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// handle watches the path if wait=true, panics at /panic, reads no body at
// /refused, and otherwise says what it was asked.
func (s *stand) handle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", "now")
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/panic":
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/refused":
		w.Header().Set("Connection", "close")
		http.Error(w, "no", http.StatusRequestEntityTooLarge)
	case q.Get("wait") == "true" && r.Method == http.MethodGet:
		from, _ := strconv.ParseUint(q.Get("from"), 10, 64)
		stream := q.Get("stream") == "true"
		watcher, err := s.hub.Watch(watch.Request{Key: store.ParseKey(r.URL.Path), Recursive: true, Stream: stream, From: from})
		if err != nil {
			panic(err)
		}
		w.Header().Set("X-B", "2")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-A", "1")
		s.lot.Park(w, r, watcher, stream)
	default:
		body, _ := io.ReadAll(r.Body)
		text := fmt.Sprintf("%s %s %s\n", r.Method, r.URL.Path, body)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = io.WriteString(w, text)
	}
}

// encode writes an event as its index and value.
func encode(e *store.Event) []byte { return fmt.Appendf(nil, "%d %s\n", e.Index, e.Node.Value) }

func (s *stand) set(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raft++
	r := s.st.Apply(s.raft, &store.Command{Op: store.OpSet, Key: store.ParseKey(key), Value: value})
	s.hub.Publish(r.Index, r.Event)
}

// waiting waits until n watchers are on the hub.
func (s *stand) waiting(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " watchers"), func() bool { return s.hub.Watchers() == n })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// client is one connection to a stand.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *stand) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads as much as want is long, which it must be.
func (c *client) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	if string(got[:n]) != want {
		c.t.Fatalf("got  %q, %v\nwant %q", got[:n], err, want)
	}
}

// expectEnd reads the connection's end.
func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %q, %v; want the end of the connection", rest, err)
	}
}

const (
	crlf = "\r\n"
	head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\nX-A: 1\r\nX-B: 2\r\n"

	// chunkedHead is how every watch begins.
	chunkedHead = head + "Transfer-Encoding: chunked\r\n\r\n"
	lastChunk   = "0\r\n\r\n"
)

// closingHead is how a watch begins after which the server closes.
var closingHead = strings.Replace(chunkedHead, "OK\r\n", "OK\r\nConnection: close\r\n", 1)

func get(target string, headers ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(headers, ""), crlf) + crlf
}

func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

// said is the answer to a request that is no watch.
func said(method, path, body string) string {
	text := fmt.Sprintf("%s %s %s\n", method, path, body)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nDate: now\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s", len(text), text)
}
