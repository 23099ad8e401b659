package links

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection somebody made to a front, and the one made to the member for it.
type conn struct {
	net    *Net
	member string
	target string
	client *net.TCPConn
	id     atomic.Pointer[string] // of the member that made it, as it says; nil until it has
	orphan atomic.Bool
	gone   chan struct{} // closed by reset
	once   sync.Once
	wg     sync.WaitGroup

	up, down pump

	mu     sync.Mutex
	server *net.TCPConn // nil until something passes
}

func newConn(n *Net, member, target string, client *net.TCPConn) *conn {
	c := &conn{net: n, member: member, target: target, client: client, gone: make(chan struct{})}
	c.up, c.down = pump{c: c, up: true}, pump{c: c}
	return c
}

func (c *conn) sender() string {
	if id := c.id.Load(); id != nil {
		return *id
	}
	return ""
}

// run ends when both directions have.
func (c *conn) run() {
	defer c.net.forget(c)
	if head := c.head(); head != nil {
		c.up.first = head
		c.up.run(c.client)
		c.wg.Wait()
	}
	_ = c.client.Close()
	if s := c.upstream(); s != nil {
		_ = s.Close()
	}
}

// longest bounds the head of a request.
const longest = 64 << 10

// head reads up to the end of the first request's head. It is nil when none came.
func (c *conn) head() []byte {
	var head []byte
	buf := make([]byte, 4<<10)
	for len(head) < longest {
		n, err := c.client.Read(buf)
		head = append(head, buf[:n]...)
		if bytes.Contains(head, []byte("\r\n\r\n")) {
			c.learn(head)
			return head
		}
		if err != nil {
			return nil
		}
	}
	return nil
}

// learn finds the header that names the sender. etcd asks for other things over a connection before its
// first message, so that it may be found late.
func (c *conn) learn(b []byte) {
	for line := range bytes.Lines(b) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && (strings.EqualFold(string(name), "X-Witan-From") || strings.EqualFold(string(name), "X-Server-From")) {
			id := string(bytes.TrimSpace(value))
			c.id.Store(&id)
			return
		}
	}
}

func (c *conn) upstream() *net.TCPConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// connect makes the connection to the member, unless there is one.
func (c *conn) connect() (*net.TCPConn, error) {
	if s := c.upstream(); s != nil {
		return s, nil
	}
	s, err := net.DialTimeout("tcp", c.target, 2*time.Second)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken() {
		_ = s.Close()
		return nil, net.ErrClosed
	}
	c.server = s.(*net.TCPConn)
	c.wg.Go(func() { c.down.run(c.server) })
	return c.server, nil
}

// reset ends the connection with RST on both sides.
func (c *conn) reset() {
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.gone)
		for _, s := range []*net.TCPConn{c.client, c.server} {
			if s != nil {
				_ = s.SetLinger(0)
				_ = s.Close()
			}
		}
	})
}

func (c *conn) broken() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// review breaks the connection if it cannot go on under the rules that hold now.
func (c *conn) review() {
	if c.orphan.Load() {
		return
	}
	s := c.net.now.Load()
	for _, p := range []*pump{&c.up, &c.down} {
		pair, r := s.rule(c.sender(), c.member, p.up)
		if r.Reset || (p.lost.Load() && !r.Drop) {
			if l := c.net.links[pair]; r.Reset && l != nil {
				l.reset.Add(1)
			}
			c.reset()
			return
		}
	}
}

// pump is one direction of a connection.
type pump struct {
	c     *conn
	up    bool        // towards the front's member
	first []byte      // read already
	lost  atomic.Bool // bytes have vanished

	cached  atomic.Pointer[view]
	queue   chan packet // what is late; nil until something is
	waiting atomic.Int64
	due     time.Time // of the last packet
	done    sync.WaitGroup
}

// view is what a pump knows of the rules.
type view struct {
	state *state
	id    string
	rule  Rule
	link  *link
}

// packet is some bytes, or the end of the connection.
type packet struct {
	data     []byte
	end, rst bool
	due      time.Time
}

func (p *pump) view() *view {
	s, id := p.c.net.now.Load(), p.c.sender()
	if v := p.cached.Load(); v != nil && v.state == s && v.id == id {
		return v
	}
	pair, r := s.rule(id, p.c.member, p.up)
	v := &view{state: s, id: id, rule: r, link: p.c.net.link(pair)}
	p.cached.Store(v)
	return v
}

// piece is how much is read at a time.
const piece = 16 << 10

// run moves bytes until the source ends or the connection is broken.
func (p *pump) run(src *net.TCPConn) {
	defer p.done.Wait()
	defer func() {
		if p.queue != nil {
			close(p.queue)
		}
	}()
	if p.first != nil && !p.take(packet{data: p.first}) {
		return
	}
	buf := make([]byte, piece)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if p.up && p.c.id.Load() == nil {
				p.c.learn(buf[:n])
			}
			if !p.take(packet{data: buf[:n]}) {
				return
			}
		}
		if err != nil && !p.c.broken() {
			p.take(packet{end: true, rst: !errors.Is(err, io.EOF)})
		}
		if err != nil {
			return
		}
	}
}

// take delivers a packet, or queues it when it is late. It says whether the connection still stands.
func (p *pump) take(k packet) bool {
	v := p.view()
	if !v.rule.late() && p.waiting.Load() == 0 {
		return p.deliver(k)
	}
	k.due = p.when(v, len(k.data))
	if len(k.data) > 0 {
		v.link.late.Add(int64(len(k.data)))
		k.data = bytes.Clone(k.data)
	}
	if p.queue == nil {
		p.queue = make(chan packet, 4096)
		p.done.Go(func() {
			for k := range p.queue {
				p.until(k.due)
				p.deliver(k)
				p.waiting.Add(-1)
			}
		})
	}
	p.waiting.Add(1)
	select {
	case p.queue <- k:
	case <-p.c.gone:
		p.waiting.Add(-1)
		return false
	}
	p.until(k.due.Add(-backlog))
	return true
}

// backlog is how much a thin link queues before it takes no more.
const backlog = 2 * time.Second

// when is the time a packet of n bytes arrives, not before the one ahead of it.
func (p *pump) when(v *view, n int) time.Time {
	at := time.Now()
	if v.rule.Rate > 0 {
		v.link.mu.Lock()
		if v.link.free.Before(at) {
			v.link.free = at
		}
		v.link.free = v.link.free.Add(time.Duration(n) * time.Second / time.Duration(v.rule.Rate))
		at = v.link.free
		v.link.mu.Unlock()
	}
	at = at.Add(v.rule.Delay)
	if j := int64(v.rule.Jitter); j > 0 {
		at = at.Add(time.Duration(rand.Int64N(2*j) - j)) //nolint:gosec // spreads, hides nothing
	}
	if at.Before(p.due) {
		at = p.due
	}
	p.due = at
	return at
}

// until waits for a time, or until nothing is late any more.
func (p *pump) until(due time.Time) {
	for {
		wait, v := time.Until(due), p.view()
		if wait <= 0 || !v.rule.late() {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-v.state.changed:
		case <-p.c.gone:
			t.Stop()
			return
		}
		t.Stop()
	}
}

// deliver does with a packet what the rules say, waiting for them where they hold it back. It says whether the connection still stands.
func (p *pump) deliver(k packet) bool {
	held := false
	for {
		v := p.view()
		n := int64(len(k.data))
		switch {
		case p.c.broken():
			return false
		case p.c.orphan.Load():
			v.link.dropped.Add(n)
			if k.end {
				v.link.unheard.Add(1)
			}
			return true
		case v.rule.Reset:
			v.link.reset.Add(1)
			p.c.reset()
			return false
		case v.rule.Drop:
			p.lost.Store(true)
			if p.c.net.now.Load() != v.state {
				continue // whoever changed the rules may have looked before it was lost
			}
			v.link.dropped.Add(n)
			return true
		case p.lost.Load():
			p.c.reset()
			return false
		case v.rule.Hold:
			if !held {
				held = true
				v.link.held.Add(max(n, 1))
			}
			select {
			case <-v.state.changed:
			case <-p.c.gone:
				return false
			}
		case k.end && v.rule.Deaf:
			v.link.unheard.Add(1)
			return true
		default:
			return p.pass(v, k)
		}
	}
}

// pass hands a packet to the other side. What a side no longer takes is thrown away: that it has closed is told by the
// other pump, as far as the rules let it.
func (p *pump) pass(v *view, k packet) bool {
	dst := p.c.client
	if p.up {
		s, err := p.c.connect()
		if err != nil {
			p.c.reset()
			return false
		}
		dst = s
	}
	switch {
	case k.end && k.rst:
		p.c.reset()
	case k.end:
		_ = dst.CloseWrite()
	default:
		v.link.passed.Add(int64(len(k.data)))
		_, _ = dst.Write(k.data)
	}
	return true
}
