package park_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/witan-kv/witan/httpapi/park"
	"github.com/witan-kv/witan/store"
)

// A conversation is what a client sends (> …) and gets (< …) to the byte, and
// what happens in between: "set" writes the next value to /a, "wait n" waits
// until n watchers are there, "half" ends what the client has to say, and "end"
// is the connection's end.
var conversations = map[string][]string{
	"a long poll and another": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk, "wait 0",
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("5 v5\n") + lastChunk, "wait 0",
		"> " + get("/a?wait=true", "Connection: keep-alive", "Accept: */*"), "< " + chunkedHead, "half", "< " + lastChunk, "end", "wait 0",
	},
	"another request in between": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> " + get("/x"), "< " + said("GET", "/x", ""),
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("5 v5\n") + lastChunk,
		"> PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo", "> dy", "< " + said("PUT", "/x", "body"),
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("6 v6\n") + lastChunk,
	},
	"a request in pieces": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> GET /a?wait=tr", "wait 0", "> ue HTTP/1.1\r\nHost: x\r\n", "> \r\n", "< " + chunkedHead, "set", "< " + chunk("5 v5\n") + lastChunk,
	},
	"requests that do not wait for answers": {
		"> " + get("/a?wait=true") + get("/a?wait=true") + get("/x") + get("/a?wait=true"), "wait 1",
		"< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk, "wait 1",
		"< " + chunkedHead, "set", "< " + chunk("5 v5\n") + lastChunk + said("GET", "/x", "") + chunkedHead, "set", "< " + chunk("6 v6\n") + lastChunk,
	},
	"a request that comes while one waits": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> " + get("/a?wait=true"), "< " + chunkedHead, "> " + get("/x"), "set", "< " + chunk("5 v5\n") + lastChunk + said("GET", "/x", ""),
	},
	"the past at once": {
		"set", "set", "set",
		"> " + get("/a?wait=true&from=4"), "< " + chunkedHead + chunk("4 v4\n") + lastChunk,
		"> " + get("/a?wait=true&from=5") + get("/a?wait=true&from=7"), "< " + chunkedHead + chunk("5 v5\n") + lastChunk + chunkedHead,
		"set", "< " + chunk("7 v7\n") + lastChunk,
		"> " + get("/a?wait=true&from=5"), "< " + chunkedHead + chunk("5 v5\n") + lastChunk,
		"> " + get("/a?wait=true&from=6") + get("/x"), "< " + chunkedHead + chunk("6 v6\n") + lastChunk + said("GET", "/x", ""),
	},
	"a stream": {
		"set", "set",
		"> " + get("/a?wait=true&stream=true&from=4"), "< " + chunkedHead + chunk("4 v4\n") + chunk("5 v5\n"),
		"set", "< " + chunk("6 v6\n"), "set", "set", "< " + chunk("7 v7\n") + chunk("8 v8\n"), "wait 1", "half", "< " + lastChunk, "end", "wait 0",
	},
	"the client wants no more": {
		"> " + get("/a?wait=true", "Connection: close"), "< " + head + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
		"set", "< " + chunk("4 v4\n") + lastChunk, "end",
	},
	"the client wants no more after the second": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> " + get("/a?wait=true", "Connection: close"), "< " + head + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
		"set", "< " + chunk("5 v5\n") + lastChunk, "end",
	},
	"HTTP/1.0": {
		"> GET /a?wait=true HTTP/1.0\r\n\r\n", "< " + strings.Replace(head, "1.1", "1.0", 1) + crlf, "set", "< 4 v4\n", "end",
	},
	"HTTP/1.0 that would stay": {
		"> GET /a?wait=true HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "< " + strings.Replace(head, "1.1", "1.0", 1) + crlf, "set", "< 4 v4\n", "end",
	},
	"HTTP/1.0 after HTTP/1.1": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> GET /a?wait=true&stream=true&from=4 HTTP/1.0\r\n\r\n", "< " + strings.Replace(head, "1.1", "1.0", 1) + crlf + "4 v4\n", "set", "< 5 v5\n",
	},
	"a watch with a body": {
		"> GET /a?wait=true HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "< " + closingHead,
		"set", "< " + chunk("4 v4\n") + lastChunk, "end",
	},
	"a watch that cannot be": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> POST /a?wait=true HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "< " + said("POST", "/a", ""),
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("5 v5\n") + lastChunk,
		"> " + get("/x?also=wait=true"), "< " + said("GET", "/x", ""),
	},
	"nonsense": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> GET /a?wait=true HTTP/1.1\r\nHost : x\r\n\r\n", "< HTTP/1.1 400 Bad Request",
	},
	"two hosts": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> " + get("/a?wait=true", "Host: y"), "< HTTP/1.1 400 Bad Request",
	},
	"no host": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> GET /a?wait=true HTTP/1.1\r\n\r\n", "< HTTP/1.1 400 Bad Request",
	},
	"a body smuggled in": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk,
		"> GET /a?wait=true HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", "< " + closingHead,
	},
	"a panic": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk, "> " + get("/panic?wait=true"), "end",
	},
	"the client leaves after the answer": {
		"> " + get("/a?wait=true"), "< " + chunkedHead, "set", "< " + chunk("4 v4\n") + lastChunk, "half", "end",
	},
}

func TestConversations(t *testing.T) {
	for name, steps := range conversations {
		for _, by := range ways {
			t.Run(fmt.Sprint(name, ", ", by), func(t *testing.T) {
				s := newStand(t, park.Config{}, by)
				c := s.dial(t)
				index := 4
				for _, step := range steps {
					verb, rest, _ := strings.Cut(step, " ")
					switch verb {
					case ">":
						c.send(rest)
					case "<":
						c.expect(rest)
					case "set":
						s.set("/a", fmt.Sprint("v", index))
						index++
					case "wait":
						var n int
						_, _ = fmt.Sscan(rest, &n)
						s.waiting(t, n)
					case "half":
						_ = c.Conn.(*net.TCPConn).CloseWrite()
					case "end":
						c.expectEnd()
					}
				}
			})
		}
	}
}

// A client that is refused while it still sends gets to read why, whatever its
// connection has been before.
func TestRefusedWhileSending(t *testing.T) {
	for _, by := range []way{admitted, taken} {
		t.Run(string(by), func(t *testing.T) {
			s := newStand(t, park.Config{}, by)
			c := s.dial(t)
			c.send(get("/a?wait=true"))
			c.expect(chunkedHead)
			s.set("/a", "v")
			c.expect(chunk("4 v\n") + lastChunk)
			c.send("PUT /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 500_000))
			c.expect("HTTP/1.1 413 Request Entity Too Large\r\n")
			if _, err := io.Copy(io.Discard, c.r); err != nil {
				t.Error(err)
			}
		})
	}
}

// One connection for hundreds of watches and other requests misses nothing
// and gets nothing twice while somebody writes.
func TestOneConnection(t *testing.T) {
	const writes = 500
	s := newStand(t, park.Config{}, admitted)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for i := range writes {
			s.set("/a", fmt.Sprint("v", i+4))
		}
	})
	c := s.dial(t)
	for i := 4; i < 4+writes; i++ {
		c.send(get(fmt.Sprint("/a?wait=true&from=", i)))
		c.expect(chunkedHead + chunk(fmt.Sprintf("%d v%d\n", i, i)) + lastChunk)
		if i%7 == 0 {
			c.send(get("/x"))
			c.expect(said("GET", "/x", ""))
		}
	}
}

// An event that comes at the moment in which a watch parks is not lost.
func TestEventWhileParking(t *testing.T) {
	const rounds = 500
	s := newStand(t, park.Config{}, admitted)
	c := s.dial(t)
	for i := 4; i < 4+rounds; i++ {
		var writing sync.WaitGroup
		c.send(get(fmt.Sprint("/a?wait=true&from=", i)))
		writing.Go(func() { s.set("/a", "v") })
		c.expect(chunkedHead + chunk(fmt.Sprintf("%d v\n", i)) + lastChunk)
		writing.Wait()
	}
}

// Thousands wait, get their event, and leave nothing behind.
func TestMany(t *testing.T) {
	const clients = 2000
	s := newStand(t, park.Config{}, admitted)
	s.set("/a", "v")
	c := s.dial(t)
	c.send(get("/x"))
	c.expect(said("GET", "/x", ""))
	before := runtime.NumGoroutine()
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.dial(t)
		all[i].send(get("/a?wait=true", "X: "+strings.Repeat("y", i%100)))
	}
	for round := range 3 {
		for _, c := range all {
			c.expect(chunkedHead)
		}
		s.waiting(t, clients)
		s.set("/a", "v")
		for _, c := range all {
			c.expect(chunk(fmt.Sprintf("%d v\n", round+5)) + lastChunk)
			c.send(get("/a?wait=true"))
		}
	}
	for _, c := range all {
		_ = c.Close()
	}
	s.waiting(t, 0)
	// A few workers stay, and the store may be about to write.
	eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before+2*runtime.GOMAXPROCS(0)+4 })
}

// value is of an event that is not copied.
var value = strings.Repeat("x", 128<<10)

// jam starts a stream that is not read, and writes until that stands still.
func jam(t *testing.T, s *stand) (c *client, written int) {
	t.Helper()
	c = s.dial(t)
	c.send(get("/a?wait=true&stream=true&from=4"))
	s.waiting(t, 1)
	eventually(t, "the stream is stuck", func() bool {
		s.set("/a", value)
		written++
		return strings.Contains(stacks(), "park.(*conn).writeSlowly(")
	})
	return c, written
}

func stacks() string {
	text := make([]byte, 4<<20)
	return string(text[:runtime.Stack(text, true)])
}

// One who does not read holds up nobody, and gets everything, or the end.
func TestOneDoesNotRead(t *testing.T) {
	for _, by := range ways {
		t.Run(string(by), func(t *testing.T) { oneDoesNotRead(t, newStand(t, park.Config{}, by)) })
	}
}

func oneDoesNotRead(t *testing.T, s *stand) {
	slow, written := jam(t, s)
	others := make([]*client, 50)
	for round := range 3 {
		for i := range others {
			if round == 0 {
				others[i] = s.dial(t)
			}
			others[i].send(get("/b?wait=true"))
			others[i].expect(chunkedHead)
		}
		s.set("/b", "v")
		for _, c := range others {
			c.expect(chunk(fmt.Sprintf("%d v\n", 4+written+round)) + lastChunk)
		}
	}
	slow.expect(chunkedHead)
	for i := range written {
		want := chunk(fmt.Sprintf("%d %s\n", 4+i, value))
		got := make([]byte, len(want))
		n, err := io.ReadFull(slow.r, got)
		if string(got[:n]) == want {
			continue
		}
		// It was ended for being too far behind, which it is told.
		if !strings.HasPrefix(string(got[:n]), lastChunk) && !errors.Is(err, io.EOF) {
			t.Fatalf("event %d: %.40q, %v", 4+i, got[:n], err)
		}
		return
	}
	s.set("/a", "caught up")
	slow.expect(chunk(fmt.Sprintf("%d caught up\n", 4+written+3)))
}

// One who never reads is cut off in time.
func TestWriteTimeout(t *testing.T) {
	s := newStand(t, park.Config{WriteTimeout: 100 * time.Millisecond}, admitted)
	jam(t, s)
	s.waiting(t, 0)
	eventually(t, "nobody writes to it", func() bool { return !strings.Contains(stacks(), "writeSlowly") })
}

// A connection without a request ends, and one that waits does not.
func TestIdleTimeout(t *testing.T) {
	const limit = 100 * time.Millisecond
	s := newStand(t, park.Config{IdleTimeout: limit}, admitted)
	patient, idle := s.dial(t), s.dial(t)
	for _, c := range []*client{patient, idle} {
		c.send(get("/a?wait=true"))
		c.expect(chunkedHead)
	}
	s.set("/a", "v")
	for _, c := range []*client{patient, idle} {
		c.expect(chunk("4 v\n") + lastChunk)
	}
	patient.send(get("/a?wait=true"))
	patient.expect(chunkedHead)
	idle.expectEnd()
	<-time.After(3 * limit) // it is time that must do nothing here
	s.set("/a", "v")
	patient.expect(chunk("5 v\n") + lastChunk)
	patient.expectEnd()
}

// A connection that never asks for anything ends as soon as net/http's would.
func TestNoRequest(t *testing.T) {
	for _, by := range ways {
		t.Run(string(by), func(t *testing.T) {
			newStand(t, park.Config{HeaderTimeout: 50 * time.Millisecond}, by).dial(t).expectEnd()
		})
	}
}

// Half a request after a watch has as much time as half a first request.
func TestHalfARequest(t *testing.T) {
	s := newStand(t, park.Config{}, admitted)
	c := s.dial(t)
	c.send(get("/a?wait=true"))
	c.expect(chunkedHead)
	s.set("/a", "v")
	c.expect(chunk("4 v\n") + lastChunk)
	var answers [2]string
	for i := range answers {
		if i == 1 {
			c = s.dial(t)
		}
		c.send("GET /a?wai")
		text, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		answers[i] = string(text)
	}
	if answers[0] != answers[1] {
		t.Errorf("got %q, otherwise %q", answers[0], answers[1])
	}
}

// Close ends what waits with an empty body and cuts what is idle.
func TestClose(t *testing.T) {
	s := newStand(t, park.Config{}, admitted)
	var waiting []*client
	for _, target := range []string{"/a?wait=true", "/b?wait=true", "/b?wait=true&stream=true"} {
		for range 20 {
			c := s.dial(t)
			c.send(get(target))
			c.expect(chunkedHead)
			waiting = append(waiting, c)
		}
	}
	s.set("/a", "v")
	idle := waiting[:20]
	for _, c := range idle {
		c.expect(chunk("4 v\n") + lastChunk)
	}
	s.close(t)
	for _, c := range waiting[20:] {
		c.expect(lastChunk)
	}
	for _, c := range waiting {
		c.expectEnd()
		_ = c.Close()
	}
	s.waiting(t, 0)
}

// Close comes while clients park and come back: everybody gets an end.
func TestCloseInTheMiddle(t *testing.T) {
	for range 20 {
		s := newStand(t, park.Config{}, admitted)
		var clients, writing sync.WaitGroup
		var stop atomic.Bool
		writing.Go(func() {
			for !stop.Load() {
				s.set("/a", "v")
			}
		})
		var rounds atomic.Int64
		for range 20 {
			c := s.dial(t)
			clients.Go(func() {
				for {
					if _, err := io.WriteString(c, get("/a?wait=true")); err != nil {
						return
					}
					text, err := c.r.ReadString('\n')
					for err == nil && text != lastChunk[:3] {
						text, err = c.r.ReadString('\n')
					}
					if err != nil {
						return // cut, or closed
					}
					_, _ = c.r.ReadString('\n')
					rounds.Add(1)
				}
			})
		}
		eventually(t, "some rounds", func() bool { return rounds.Load() > 200 })
		s.close(t)
		clients.Wait()
		stop.Store(true)
		writing.Wait()
		s.waiting(t, 0)
	}
}

// Those who cannot be told in time are cut off.
func TestCloseCutsOff(t *testing.T) {
	s := newStand(t, park.Config{}, admitted)
	jam(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.lot.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	s.waiting(t, 0)
}

// A panic of a sender costs its connection and nothing else.
func TestPanicWhileSending(t *testing.T) {
	s := newStand(t, park.Config{Encode: func(e *store.Event) []byte {
		if e.Node.Value == "bad" {
			panic("told to")
		}
		return encode(e)
	}}, admitted)
	c, other := s.dial(t), s.dial(t)
	c.send(get("/a?wait=true"))
	c.expect(chunkedHead)
	other.send(get("/b?wait=true"))
	other.expect(chunkedHead)
	s.set("/a", "bad")
	c.expectEnd()
	s.set("/b", "good")
	other.expect(chunk("5 good\n") + lastChunk)
	s.waiting(t, 0)
}

// A watcher that has to look back again, because a snapshot came, does so.
func TestLookBackWhileParked(t *testing.T) {
	s := newStand(t, park.Config{}, admitted)
	c := s.dial(t)
	c.send(get("/a?wait=true&stream=true"))
	c.expect(chunkedHead)
	s.mu.Lock()
	for range 600 { // more than a page
		s.raft++
		s.index = s.st.Apply(s.raft, &store.Command{Op: store.OpSet, Key: store.ParseKey("/a"), Value: "v"}).Index
	}
	s.hub.Skip(s.index)
	s.mu.Unlock()
	for i := range 600 {
		c.expect(chunk(fmt.Sprintf("%d v\n", 4+i)))
	}
	s.set("/a", "v")
	c.expect(chunk("604 v\n"))
}
