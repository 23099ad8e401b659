package links

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is three members a, b and c: listeners that hand over the connections made to them, each behind a front.
type site struct {
	*Net
	t       *testing.T
	fronts  map[string]string
	members map[string]chan net.Conn
}

func newSite(t *testing.T) *site {
	s := &site{Net: New(), t: t, fronts: map[string]string{}, members: map[string]chan net.Conn{}}
	t.Cleanup(s.Close)
	for _, name := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		got := make(chan net.Conn, 64)
		s.members[name] = got
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				got <- conn
			}
		}()
		if err := s.Front(name, "127.0.0.1:0", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		s.fronts[name] = s.Net.fronts[name][0].Addr().String()
	}
	s.Know(map[string]string{"1a": "a", "1b": "b", "1c": "c"})
	return s
}

// end is one side of a connection.
type end struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (s *site) end(conn net.Conn) *end {
	s.t.Cleanup(func() { conn.Close() })
	return &end{Conn: conn, t: s.t, r: bufio.NewReader(conn)}
}

// dial begins a connection as a member's transport does. An empty id sends no name.
func (s *site) dial(id, to string) *end {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.fronts[to])
	if err != nil {
		s.t.Fatal(err)
	}
	e := s.end(conn)
	e.send(head(id))
	return e
}

func head(id string) string {
	if id == "" {
		return "GET /members HTTP/1.1\r\n\r\n"
	}
	return "GET /raft HTTP/1.1\r\nX-Witan-From: " + id + "\r\n\r\n"
}

// pair is a connection and the member's side of it.
func (s *site) pair(id, to string) (client, server *end) {
	s.t.Helper()
	client = s.dial(id, to)
	server = s.accepted(to)
	server.expect(head(id))
	return client, server
}

func (s *site) accepted(at string) *end {
	s.t.Helper()
	select {
	case conn := <-s.members[at]:
		return s.end(conn)
	case <-time.After(10 * time.Second):
		s.t.Fatalf("no connection reached %s", at)
		return nil
	}
}

func (e *end) send(text string) {
	e.t.Helper()
	if _, err := io.WriteString(e, text); err != nil {
		e.t.Fatal(err)
	}
}

func (e *end) expect(text string) {
	e.t.Helper()
	got := make([]byte, len(text))
	_ = e.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.ReadFull(e.r, got); err != nil || string(got) != text {
		e.t.Fatalf("read %q, %v, want %q", got[:n], err, text)
	}
}

// fails reads and wants an error.
func (e *end) fails(want error) {
	e.t.Helper()
	_ = e.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := e.r.ReadByte()
	if !errors.Is(err, want) {
		e.t.Fatalf("read %q, %v, want %v", b, err, want)
	}
}

// silent says that nothing has come, not even an end.
func (e *end) silent() {
	e.t.Helper()
	_ = e.SetReadDeadline(time.Now().Add(time.Millisecond))
	if b, err := e.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		e.t.Fatalf("read %q, %v, want silence", b, err)
	}
}

// await waits until a count of a direction is what is wanted.
func (s *site) await(from, to, what string, ok func(Counts) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(s.Counts(Pair{from, to})); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s to %s: no %s: %+v", from, to, what, s.Counts(Pair{from, to}))
		}
	}
}

func TestPasses(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	a.send("ping")
	b.expect("ping")
	b.send("pong")
	a.expect("pong")
	s.await("b", "a", "bytes", func(c Counts) bool { return c.Passed == 4 })
	if n := s.Counts(Pair{"a", "b"}).Bitten() + s.Counts(Pair{"b", "a"}).Bitten(); n != 0 {
		t.Errorf("%d bitten without a rule", n)
	}
	a.Close()
	b.fails(io.EOF)
}

// TestOneWay drops what a sends b, on the connections of either, and lets the rest pass.
func TestOneWay(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	b2, a2 := s.pair("1b", "a")
	_, c := s.pair("1a", "c")
	lift := s.Lay(Layer{{"a", "b"}: {Drop: true}})
	a.send("lost")
	a2.send("lost too")
	s.await("a", "b", "drop", func(c Counts) bool { return c.Dropped == 12 })
	b.send("back")
	a.expect("back")
	b2.send("forth")
	a2.expect("forth")
	c.send("elsewhere")
	b.silent()
	b2.silent()

	// A new connection is accepted and starves.
	a3 := s.dial("1a", "b")
	s.await("a", "b", "drop", func(c Counts) bool { return c.Dropped == 12+int64(len(head("1a"))) })
	a3.silent()
	select {
	case <-s.members["b"]:
		t.Error("a starved connection reached its member")
	default:
	}

	// What has lost bytes cannot go on: it is reset when they would pass.
	lift()
	for _, e := range []*end{a, b, a2, b2, a3} {
		e.fails(syscall.ECONNRESET)
	}
	a, b = s.pair("1a", "b")
	a.send("again")
	b.expect("again")
}

func TestHeldBytesArrive(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	lift := s.Lay(Layer{{"a", "b"}: {Hold: true}})
	a.send("late")
	a.Close()
	s.await("a", "b", "hold", func(c Counts) bool { return c.Held == 4 })
	b.silent()
	lift()
	b.expect("late")
	b.fails(io.EOF)
}

func TestReset(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	lift := s.Lay(Layer{{"a", "b"}: {Reset: true}})
	a.fails(syscall.ECONNRESET)
	b.fails(syscall.ECONNRESET)
	s.dial("1a", "b").fails(syscall.ECONNRESET)
	if n := s.Counts(Pair{"a", "b"}).Reset; n != 2 {
		t.Errorf("%d connections reset, want 2", n)
	}
	lift()
	s.pair("1a", "b")
}

// TestLayers lays two harms on one link: it is whole when both are off.
func TestLayers(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	first := s.Lay(Layer{{"a", "b"}: {Hold: true}})
	second := s.Lay(Layer{{"a", "b"}: {Hold: true}, {"a", "c"}: {Drop: true}})
	first()
	first()
	a.send("held")
	s.await("a", "b", "hold", func(c Counts) bool { return c.Held == 4 })
	b.silent()
	second()
	b.expect("held")
	if r := (Rule{Delay: 1, Rate: 9, Deaf: true}).and(Rule{Delay: 2, Jitter: 3, Rate: 5}); r != (Rule{Delay: 3, Jitter: 3, Rate: 5, Deaf: true}) {
		t.Errorf("two rules make %+v", r)
	}
}

// TestDelay sends many packets one after the other: each is late, all together are not later.
func TestDelay(t *testing.T) {
	const delay, jitter, packets = 200 * time.Millisecond, 50 * time.Millisecond, 50
	s := newSite(t)
	a, b := s.pair("1a", "b")
	lift := s.Lay(Layer{{"a", "b"}: {Delay: delay, Jitter: jitter}})
	var all strings.Builder
	begin := time.Now()
	for i := range packets {
		text := fmt.Sprintf("packet %d;", i)
		a.send(text)
		all.WriteString(text)
	}
	b.expect(all.String())
	if took := time.Since(begin); took < delay-jitter || took > packets*delay/2 {
		t.Errorf("%d packets took %v", packets, took)
	}
	begin = time.Now()
	b.send("prompt")
	a.expect("prompt")
	if took := time.Since(begin); took > delay/2 {
		t.Errorf("the other direction took %v", took)
	}
	s.await("a", "b", "delay", func(c Counts) bool { return c.Late >= int64(all.Len()) })

	// What is under way when the harm ends arrives at once, and in order.
	lift()
	lift = s.Lay(Layer{{"a", "b"}: {Delay: time.Hour}})
	late := s.Counts(Pair{"a", "b"}).Late
	a.send("first,")
	s.await("a", "b", "delay", func(c Counts) bool { return c.Late == late+6 })
	lift()
	a.send("second")
	b.expect("first,second")
}

// TestRate shares a thin link between two connections.
func TestRate(t *testing.T) {
	const rate, each = 256 << 10, 32 << 10
	s := newSite(t)
	a, b := s.pair("1a", "b")
	a2, b2 := s.pair("1a", "b")
	s.Lay(Layer{{"a", "b"}: {Rate: rate}})
	text := strings.Repeat("x", each)
	begin := time.Now()
	a.send(text)
	a2.send(text)
	b.expect(text)
	b2.expect(text)
	if took, least := time.Since(begin), 2*each*time.Second/rate; took < least || took > 10*least {
		t.Errorf("%d bytes at %d a second took %v", 2*each, rate, took)
	}
}

func TestEndsAreKeptBack(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	s.Lay(Layer{{"a", "b"}: {Deaf: true}})
	a.send("last")
	b.expect("last")
	a.Close()
	s.await("a", "b", "end kept back", func(c Counts) bool { return c.Unheard == 1 })
	b.silent()
}

func TestOrphans(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	b2, a2 := s.pair("1b", "a")
	_, c := s.pair("1a", "c")
	if n := s.Orphan("b", "a"); n != 2 {
		t.Fatalf("%d orphans, want 2", n)
	}
	a.send("void")
	a2.send("void")
	s.await("a", "b", "drop", func(c Counts) bool { return c.Dropped == 8 })
	b.Close()
	s.await("b", "a", "end kept back", func(c Counts) bool { return c.Unheard == 1 })
	a.silent()
	b2.silent()
	a, b = s.pair("1a", "b")
	a.send("new")
	b.expect("new")
	c.silent()
}

// TestUnknown: who does not say who it is gets through until nobody does.
func TestUnknown(t *testing.T) {
	s := newSite(t)
	x, b := s.pair("", "b")
	stranger, b2 := s.pair("77", "b")
	one := s.Lay(Layer{{"a", "b"}: {Hold: true}})
	x.send("one")
	b.expect("one")
	stranger.send("two")
	b2.expect("two")
	all := s.Lay(Layer{{"c", "b"}: {Hold: true}})
	x.send("three")
	s.await("", "b", "hold", func(c Counts) bool { return c.Held == 5 })
	b.send("back")
	x.expect("back")
	all()
	b.expect("three")
	one()

	// etcd asks something else first and names itself later, on the same connection.
	s.Lay(Layer{{"a", "b"}: {Drop: true}})
	x.send("POST /raft HTTP/1.1\r\nx-server-from: 1a\r\n\r\n")
	s.await("a", "b", "drop", func(c Counts) bool { return c.Dropped > 0 })
	b.silent()
}

// TestNobodyListens: a member that does not run refuses.
func TestNobodyListens(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Front("d", "127.0.0.1:0", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s.fronts["d"] = s.Net.fronts["d"][0].Addr().String()
	s.dial("1a", "d").fails(syscall.ECONNRESET)
}

func TestClose(t *testing.T) {
	s := newSite(t)
	a, b := s.pair("1a", "b")
	s.Lay(Layer{{"a", "b"}: {Hold: true}, {"b", "a"}: {Delay: time.Hour}})
	a.send("held")
	b.send("late")
	s.await("a", "b", "hold", func(c Counts) bool { return c.Held == 4 })
	s.await("b", "a", "delay", func(c Counts) bool { return c.Late == 4 })
	s.Close()
	s.Close()
	a.fails(syscall.ECONNRESET)
	if err := s.Front("e", "127.0.0.1:0", "127.0.0.1:1"); err == nil {
		t.Error("a closed network took a member")
	}
}
