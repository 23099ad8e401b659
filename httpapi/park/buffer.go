package park

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"syscall"
)

// requestBytes is the room for what a client says next. What does not fit is
// for net/http to read.
const requestBytes = 4 << 10

// maxPooled is the largest buffer kept for others.
const maxPooled = 128 << 10

// buffer is room for one read or one write.
type buffer struct {
	b []byte

	// What is to be written after b: an event too large to be copied for
	// every watcher, and what stands behind it.
	event []byte
	tail  []byte

	// For tryWrite.
	out      []byte
	n        int
	err      error
	writable func(fd uintptr) bool // b.writeNow, made once
}

var buffers = sync.Pool{New: func() any {
	b := &buffer{b: make([]byte, 0, requestBytes)}
	b.writable = b.writeNow
	return b
}}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

// release gives the buffer back. Nothing of it may be used afterwards.
func (b *buffer) release() {
	if b.writable != nil && cap(b.b) <= maxPooled {
		b.reset()
		buffers.Put(b)
	}
}

func (b *buffer) reset() { b.b, b.event, b.tail, b.out = b.b[:0], nil, nil, nil }

func (b *buffer) isEmpty() bool { return len(b.b)+len(b.event) == 0 }

// parts returns what is to be written, in order.
func (b *buffer) parts() [3][]byte { return [...][]byte{b.b, b.event, b.tail} }

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

func (b *buffer) WriteString(s string) (int, error) {
	b.b = append(b.b, s...)
	return len(s), nil
}

// tryWrite writes what the socket takes at once, and returns the rest, which
// outlives the buffer.
func (b *buffer) tryWrite(raw syscall.RawConn) (rest net.Buffers, err error) {
	for i, part := range b.parts() {
		n := 0
		if len(part) > 0 && rest == nil && raw != nil {
			b.out = part
			if err := raw.Write(b.writable); err != nil {
				return nil, err
			}
			if b.err != nil {
				return nil, b.err
			}
			n = b.n
		}
		if part = part[n:]; len(part) == 0 {
			continue
		}
		if i == 0 {
			part = bytes.Clone(part) // the others do not belong to the buffer
		}
		rest = append(rest, part)
	}
	return rest, nil
}

// writeNow writes as much of out as the socket takes, and never waits.
func (b *buffer) writeNow(fd uintptr) bool {
	n, err := ignoringInterrupts(syscall.Write, fd, b.out)
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	b.n, b.err = max(n, 0), err
	return true
}

func ignoringInterrupts(op func(fd int, p []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := op(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
