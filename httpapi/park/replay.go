package park

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// replay is a connection as net/http has it: one of which something has been
// read already. It spares what net/http does for every request and needs for few.
//
// Reading ahead: while a request is served, net/http reads one byte in a goroutine, to
// notice a client that leaves, and breaks that off before it answers: a system
// call, two changes of a deadline and two of goroutines. Here a request that
// waits long is a watch, and that one waits in the lot. So
// the first read of a single byte after anything else finds nothing, and has no
// error either, with which net/http is content; who asks again is not that goroutine and waits.
// Of a PUT over 64 connections that is a tenth of the server's CPU.
//
// Deadlines: half a dozen for every request, nearly all later than the one before.
// The runtime's timer is set to one of them and moved when it has run out.
type replay struct {
	net.Conn
	early   []byte
	asked   atomic.Bool // for a single byte at last
	limited bool        // writes have a deadline

	mu       sync.Mutex
	deadline time.Time // of reads, or zero
	timer    time.Time // when the runtime ends them, or zero. Invariant: not after deadline
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.early) == 0 {
		if len(p) == 1 && !r.asked.Swap(true) {
			return 0, nil
		}
		r.asked.Store(false)
		return r.readInTime(p)
	}
	n := copy(p, r.early)
	if r.early = r.early[n:]; len(r.early) == 0 {
		r.early = nil
	}
	return n, nil
}

func (r *replay) readInTime(p []byte) (int, error) {
	for {
		n, err := r.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !r.tooEarly() {
			return n, err
		}
	}
}

// tooEarly reports whether the runtime has ended a read before its deadline, and
// sets the timer anew.
func (r *replay) tooEarly() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.timer.Equal(r.deadline) && r.setTimerLocked(r.deadline) == nil
}

// SetReadDeadline implements net.Conn.
func (r *replay) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	if t.IsZero() || !r.timer.IsZero() && r.timer.Before(t) {
		return nil
	}
	return r.setTimerLocked(t)
}

func (r *replay) setTimerLocked(t time.Time) error {
	r.timer = t
	return r.Conn.SetReadDeadline(t)
}

func (r *replay) Write(p []byte) (int, error) {
	r.asked.Store(false)
	return r.Conn.Write(p)
}

// SetWriteDeadline implements net.Conn.
func (r *replay) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !r.limited {
		return nil
	}
	r.limited = !t.IsZero()
	return r.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn. Who takes the connection over sets it first.
func (r *replay) SetDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline, r.timer, r.limited = t, t, !t.IsZero()
	return r.Conn.SetDeadline(t)
}

// CloseWrite lets net/http say all it has to say to a client that still sends.
func (r *replay) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
