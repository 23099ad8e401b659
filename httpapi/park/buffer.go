package park

import (
	"errors"
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

	// The outcome of writable.
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
	if b.writable != nil && cap(b.b) >= requestBytes && cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

func (b *buffer) WriteString(s string) (int, error) {
	b.b = append(b.b, s...)
	return len(s), nil
}

// writeNow writes as much as the socket takes, and never waits.
func (b *buffer) writeNow(fd uintptr) bool {
	b.n, b.err = ignoringInterrupts(syscall.Write, fd, b.b)
	if b.err != nil {
		b.n = 0
	}
	if errors.Is(b.err, syscall.EAGAIN) {
		b.err = nil
	}
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
