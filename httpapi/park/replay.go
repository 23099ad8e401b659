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
// Deadlines: half a dozen for every request, nearly all later than the one before, and
// most while nobody reads. The runtime's timer is set to one of them when somebody
// does, and moved when it has run out.
type replay struct {
	net.Conn
	early   []byte
	asked   atomic.Bool // for a single byte at last
	limited bool        // writes have a deadline

	mu       sync.Mutex
	deadline time.Time // of reads, or zero
	timer    time.Time // when the runtime ends them, or zero
	reading  bool      // Invariant: then the timer is not set to later than the deadline
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
		if err := r.begin(); err != nil {
			return 0, err
		}
		n, err := r.Conn.Read(p)
		if again := r.end(n == 0 && errors.Is(err, os.ErrDeadlineExceeded)); !again {
			return n, err
		}
	}
}

func (r *replay) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = true
	return r.setTimerLocked()
}

// end reports whether the timer has run out before the deadline has come.
func (r *replay) end(ranOut bool) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	if !ranOut || r.timer.Equal(r.deadline) {
		return false
	}
	r.timer = r.deadline
	return r.Conn.SetReadDeadline(r.deadline) == nil
}

// setTimerLocked sees to it that a read ends at the deadline, or before.
func (r *replay) setTimerLocked() error {
	if r.deadline.IsZero() || !r.timer.IsZero() && !r.deadline.Before(r.timer) {
		return nil
	}
	r.timer = r.deadline
	return r.Conn.SetReadDeadline(r.deadline)
}

// SetReadDeadline implements net.Conn.
func (r *replay) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	if !r.reading {
		return nil
	}
	return r.setTimerLocked()
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
