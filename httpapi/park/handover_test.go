package park

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// serveReplay serves one connection, of which the other end is returned. What
// is written there is taken when it is read and not before.
func serveReplay(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	l := newHandover()
	s := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	l.conns <- &replay{Conn: server}
	t.Cleanup(func() {
		_ = client.Close()
		_ = s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	return client
}

func mustWrite(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// A buffer of net/http's that has room for one byte more gets that byte.
func TestReplayOfALongHead(t *testing.T) {
	c := serveReplay(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("X-Long")) })
	answers := bufio.NewReader(c)
	for range 2 {
		const buffer, line = 4096, "X-Long: "
		long := strings.Repeat("l", 2*buffer)
		mustWrite(t, c, "GET / HTTP/1.1\r\nHost: x\r\n"+line)
		mustWrite(t, c, long[:buffer-1-len(line)])
		mustWrite(t, c, long[buffer-1-len(line):]+"\r\n\r\n")
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != long {
			t.Fatalf("%d bytes came back, %v", len(body), err)
		}
	}
}

// Nobody reads while a request is served, and what came meanwhile is the next one.
func TestReplayIsNotReadAhead(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	c := serveReplay(t, func(http.ResponseWriter, *http.Request) {
		begun <- true
		<-end
	})
	const request = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
	answers := bufio.NewReader(c)
	mustWrite(t, c, request)
	for range 3 {
		<-begun
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := io.WriteString(c, request); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes were read while a request was served, %v", n, err)
		}
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		end <- true
		if r, err := http.ReadResponse(answers, nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatal(r, err)
		}
		mustWrite(t, c, request)
	}
	<-begun
	end <- true
}
