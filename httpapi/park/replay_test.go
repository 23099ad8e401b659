package park

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
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

// The last deadline counts, whatever the timer was set to before.
func TestReplayDeadlines(t *testing.T) {
	past, never := time.Unix(1, 0), time.Time{}
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for _, tt := range []struct {
		name      string
		deadlines []time.Time
		late      bool
	}{
		{"none", nil, false},
		{"past", []time.Time{past}, true},
		{"past, never", []time.Time{past, never}, false},
		{"past, later", []time.Time{past, in(time.Minute)}, false},
		{"later, past", []time.Time{in(time.Minute), past}, true},
		{"later, never, past", []time.Time{in(time.Minute), never, past}, true},
		{"past, never, soon", []time.Time{past, never, in(20 * time.Millisecond)}, true},
		{"soon, later", []time.Time{in(10 * time.Millisecond), in(30 * time.Millisecond)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			r := &replay{Conn: server}
			defer r.Close()
			say := func(text string) { _, _ = io.WriteString(client, text) }
			last := never
			for _, last = range tt.deadlines {
				if err := r.SetReadDeadline(last); err != nil {
					t.Fatal(err)
				}
			}
			if !tt.late {
				go say("ab")
			}
			n, err := r.Read(make([]byte, 2))
			switch {
			case !tt.late && (n != 2 || err != nil):
				t.Errorf("read %d bytes, %v", n, err)
			case tt.late && !errors.Is(err, os.ErrDeadlineExceeded):
				t.Errorf("read %d bytes, %v, although it was late", n, err)
			case tt.late && time.Now().Before(last):
				t.Error("late before it was")
			}
			if err := r.SetDeadline(never); err != nil {
				t.Fatal(err)
			}
			if tt.late {
				go say("cd")
				if n, err := io.ReadFull(r.Conn, make([]byte, 2)); err != nil {
					t.Errorf("who took it over read %d bytes, %v", n, err)
				}
			}
		})
	}
}

// A deadline that is set while somebody reads ends that read.
func TestReplayDeadlineWhileReading(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	r := &replay{Conn: server}
	defer r.Close()
	_ = r.SetReadDeadline(time.Now().Add(time.Minute))
	ended := make(chan error)
	for range 3 {
		go func() {
			_, err := r.Read(make([]byte, 2))
			ended <- err
		}()
		for !r.isReading() {
			runtime.Gosched()
		}
		_ = r.SetReadDeadline(time.Unix(1, 0))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = r.SetReadDeadline(time.Time{})
	}
}

func (r *replay) isReading() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reading
}
