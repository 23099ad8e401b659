package park

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/witan-kv/witan/watch"
)

// batchBytes is about how much is written at once.
const batchBytes = 64 << 10

// copiedBytes is the longest event that is copied, so that a small one is
// written together with what stands around it.
const copiedBytes = 16 << 10

// conn is a connection in the lot. Either a watch is served on it, and what it
// says is for its watcher to decide, or it is the client's turn to ask.
//
// As long as it is in the lot and no bytes of a next request are there, one
// goroutine listens to the client.
type conn struct {
	lot     *Lot
	net     net.Conn
	raw     syscall.RawConn // nil if net has none: then nothing is tried, and everything written slowly
	remote  string          // its address, once it is known
	chunked bool            // HTTP/1.1; otherwise the end of the connection ends the body
	keep    bool            // another request may follow

	// Owned by the goroutine that listens.
	in       *buffer
	inErr    error
	readable func(fd uintptr) bool // c.readNow, made once

	// mu is held while something is written, but not by writeSlowly. It is
	// taken before a hub's lock.
	mu      sync.Mutex
	watcher *watch.Watcher // nil when it is the client's turn
	stream  bool
	slow    bool   // writeSlowly is at work and nobody else may write
	gone    bool   // the client has left
	early   []byte // of a request that came before the answer to the last; nobody listens then

	// Guarded by lot.queue.mu.
	queued bool
	next   *conn
}

// newConn puts nc, which has been counted, into the lot.
func (l *Lot) newConn(nc net.Conn) *conn {
	c := &conn{lot: l, net: nc}
	c.readable = c.readNow
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c
}

// takeOver takes r's connection from net/http when the head is written.
func (l *Lot) takeOver(w http.ResponseWriter, r *http.Request) (*conn, error) {
	client := http.NewResponseController(w)
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // the body stays unread
	}
	w.WriteHeader(http.StatusOK)
	if err := client.Flush(); err != nil {
		return nil, err
	}
	nc, rw, err := client.Hijack()
	if err != nil {
		l.config.Logger.Error().Err(err).Msg("a watch cannot wait")
		return nil, err
	}
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ = rw.Peek(n)
	}
	if re, ok := nc.(*replay); ok {
		nc, early = re.Conn, append(early, re.early...)
	}
	c := l.newConn(nc)
	c.remote = r.RemoteAddr
	c.chunked = r.ProtoAtLeast(1, 1)
	c.keep = c.chunked && !r.Close && r.ContentLength == 0
	if c.keep {
		c.early = early
	}
	return c, nil
}

// park begins a watch. What is in head goes before its events.
func (c *conn) park(head *buffer, watcher *watch.Watcher, stream bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head == nil {
		head = takeBuffer()
	}
	defer head.release()
	c.watcher, c.stream = watcher, stream
	if c.lot.closing.Load() { // end may have been here before
		watcher.Close()
	}
	listens := c.early == nil
	c.deliverLocked(head)
	if listens {
		c.lot.running.Add(1)
		go c.listen()
	}
}

// end ends the watch or, if there is none, makes whoever listens give up.
func (c *conn) end() {
	c.mu.Lock()
	w := c.watcher
	if w == nil {
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
	c.mu.Unlock()
	if w != nil {
		w.Close() // which wakes c: a sender ends the answer
	}
}

// close ends the connection. It may be called more than once.
func (c *conn) close() {
	_ = c.net.Close()
	c.lot.remove(c)
}

// listen waits for the client to leave or to say something.
func (c *conn) listen() {
	defer c.lot.running.Done()
	for {
		in, err := c.read()
		c.mu.Lock()
		watcher := c.watcher
		switch {
		case err != nil && watcher != nil:
			c.gone = true
			c.mu.Unlock()
			watcher.Close() // which wakes c: a sender ends the answer
			return
		case err != nil:
			c.mu.Unlock()
			c.close()
			return
		case watcher == nil:
			c.mu.Unlock()
			c.lot.start(job{c, in})
			return
		case c.keep:
			c.early = append([]byte(nil), in.b...)
			c.mu.Unlock()
			in.release()
			return
		}
		c.mu.Unlock()
		in.release() // nobody will answer
	}
}

// read waits until there is something to read and returns it. While it waits
// there is no buffer.
func (c *conn) read() (*buffer, error) {
	if c.raw == nil {
		b := &buffer{b: make([]byte, 1)}
		_, err := io.ReadFull(c.net, b.b)
		return b, err
	}
	err := c.raw.Read(c.readable)
	in := c.in
	c.in = nil
	if err == nil {
		err = c.inErr
	}
	return in, err
}

// readNow reads what there is. It reports false if that is nothing, and the
// end of the connection as io.EOF.
func (c *conn) readNow(fd uintptr) bool {
	b := takeBuffer()
	n, err := ignoringInterrupts(syscall.Read, fd, b.b[:cap(b.b)])
	if errors.Is(err, syscall.EAGAIN) {
		b.release()
		return false
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	if c.inErr = err; err != nil {
		b.release()
		return true
	}
	b.b = b.b[:n]
	c.in = b
	return true
}

// state is how a watch goes on after what has been gathered is written.
type state uint8

const (
	waits state = iota // for its watcher to wake it
	more               // there may be more at once
	over               // the answer is complete
)

// deliver sends what the watcher has, using b.
func (c *conn) deliver(b *buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watcher != nil && !c.slow {
		b.reset()
		c.deliverLocked(b)
	}
}

// deliverLocked sends b and then what the watcher has. It does not wait for
// the client.
func (c *conn) deliverLocked(b *buffer) {
	defer c.recoverLocked()
	next := c.gatherLocked(b)
	rest, err := b.tryWrite(c.raw)
	switch {
	case err != nil:
		c.abandonLocked()
	case rest != nil:
		c.slow = true
		c.lot.running.Add(1)
		go c.writeSlowly(rest, next)
	default:
		c.goOnLocked(next)
	}
}

// goOnLocked is called when what was gathered is written.
func (c *conn) goOnLocked(next state) {
	switch next {
	case waits:
	case more:
		c.Wake() // after the others
	case over:
		c.answeredLocked()
	}
}

// gatherLocked adds the events that are there to b.
func (c *conn) gatherLocked(b *buffer) state {
	for len(b.b) < batchBytes {
		e, err := c.watcher.Poll(c)
		switch {
		case err != nil:
			c.lot.logFailure(err)
			if c.chunked {
				b.b = append(b.b, lastChunk...)
			}
			return over
		case e == nil:
			return waits
		}
		next := more
		if !c.stream {
			next = over
		}
		if c.addEvent(b, e.Encoded(c.lot.config.Encode), next); next == over || b.event != nil {
			return next
		}
	}
	return more
}

var (
	lineEnd   = []byte("\r\n")
	lastChunk = []byte("0\r\n\r\n")
	lastLines = []byte("\r\n0\r\n\r\n") // both
)

// addEvent adds an event to b, as a chunk unless the client is too old for
// those, and the end of the answer if that is next.
func (c *conn) addEvent(b *buffer, event []byte, next state) {
	var tail []byte
	if c.chunked {
		b.b = strconv.AppendUint(b.b, uint64(len(event)), 16)
		b.b = append(b.b, lineEnd...)
		tail = lineEnd
		if next == over {
			tail = lastLines
		}
	}
	if len(event) > copiedBytes {
		b.event, b.tail = event, tail
		return
	}
	b.b = append(b.b, event...)
	b.b = append(b.b, tail...)
}

// writeSlowly writes rest to a client that does not read fast enough, and goes
// on until it has caught up. The client has some time for each batch, but once
// the hub has given it up no more than for one.
func (c *conn) writeSlowly(rest net.Buffers, next state) {
	defer c.lot.running.Done()
	ended := c.watcher.Ended() // nobody changes c.watcher while c.slow
	var b buffer
	for givenUp := false; ; givenUp = isClosed(ended) {
		if !givenUp {
			_ = c.net.SetWriteDeadline(time.Now().Add(c.lot.config.WriteTimeout))
		}
		_, err := rest.WriteTo(c.net)
		b.reset()
		if next = c.caughtUp(&b, next, err); b.isEmpty() {
			return
		}
		parts := b.parts()
		rest = parts[:]
	}
}

// caughtUp is called by writeSlowly when it has written what it had. If b is
// still empty then, writeSlowly has done its work.
func (c *conn) caughtUp(b *buffer, next state, err error) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.recoverLocked()
	if err != nil {
		c.abandonLocked()
		return over
	}
	if next != over {
		next = c.gatherLocked(b)
	}
	if b.isEmpty() {
		c.slow = false
		_ = c.net.SetWriteDeadline(time.Time{})
		c.goOnLocked(next)
	}
	return next
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// answeredLocked is called when the answer is complete: it is the client's turn.
func (c *conn) answeredLocked() {
	c.watcher = nil
	early := c.early
	c.early = nil
	switch {
	case !c.keep || c.gone || c.lot.closing.Load():
		c.close()
	case early != nil:
		c.lot.start(job{c, &buffer{b: early}})
	default:
		_ = c.net.SetReadDeadline(time.Now().Add(c.lot.config.IdleTimeout))
	}
}

// abandonLocked gives up a client that cannot be written to.
func (c *conn) abandonLocked() {
	if c.watcher != nil {
		c.watcher.Close()
		c.watcher = nil
	}
	c.close()
}

// recoverLocked keeps a panic to the connection it came from.
func (c *conn) recoverLocked() {
	cause := recover()
	if cause == nil {
		return
	}
	c.lot.config.Logger.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("a watch panicked")
	c.abandonLocked()
}
