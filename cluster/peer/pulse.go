package peer

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What a member sends over a raft connection can vanish without an error for as long as the kernel
// sends it again, a quarter of an hour, when a host or a middlebox on the way has forgotten the
// connection; after a long cut the kernel's next try is as far off as the cut was long. So
// the receiver says with a byte now and then that bytes still come, and a sender that hears nothing
// for a while connects anew. Arriving bytes count, not frames: a large frame may take its time.
const (
	headerPulse = "X-Witan-Pulse" // asked for by the sender and confirmed by the receiver
	pulseEvery  = 500 * time.Millisecond
	pulseless   = 3 * time.Second // above a round trip over any line worth electing over
)

// pulsing is the receiver's end of a connection. Bytes that arrive are answered with one, a while later.
type pulsing struct {
	net.Conn
	due atomic.Bool
}

func (p *pulsing) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 && p.due.CompareAndSwap(false, true) {
		time.AfterFunc(pulseEvery, p.send)
	}
	return n, err
}

func (p *pulsing) send() {
	p.due.Store(false)
	_, _ = p.Write([]byte{1}) // its end shows where it is read
}

// link is an outgoing connection and a goroutine that notices its end. Without
// reading, the first message after the other side has gone is written into
// the void, and between two followers that message is the vote a new leader needs.
type link struct {
	net.Conn
	pulses bool
	gone   chan struct{} // closed when the other side has closed or is silent

	mu      sync.Mutex
	waiting bool // something was sent and nothing heard since
}

func newLink(conn net.Conn, pulses bool) *link {
	l := &link{Conn: conn, pulses: pulses, gone: make(chan struct{})}
	go l.listen()
	return l
}

func (l *link) listen() {
	defer close(l.gone)
	defer l.Conn.Close()
	var b [64]byte
	for {
		_, err := l.Read(b[:]) // returns when either side closes
		if err != nil || !l.pulses {
			return
		}
		l.heard()
	}
}

// expect starts to wait for a pulse, unless that is going on. It is called before something is sent.
func (l *link) expect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulses && !l.waiting {
		l.waiting = true
		_ = l.SetReadDeadline(time.Now().Add(pulseless)) // fails when it has ended, which Read tells
	}
}

// heard may end the wait for what was sent a moment ago, too. The next frame begins another.
func (l *link) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	_ = l.SetReadDeadline(time.Time{})
}

func (l *link) alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

// close ends the link and its goroutine.
func (l *link) close() {
	l.Close()
	<-l.gone
}
