package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// listen opens a listener for each client URL. It closes those it has opened when a
// later one fails.
func listen(ctx context.Context, urls []string) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			listeners = nil
		}
	}()
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 30 * time.Second}}
	for _, u := range urls {
		l, err := lc.Listen(ctx, "tcp", address(u))
		if err != nil {
			return listeners, fmt.Errorf("--listen-client-urls: %s: %w", u, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// slots bounds how many connections are open at once over several listeners.
// Whoever comes when all are taken waits in the kernel's queue: running out of
// file descriptors would hit raft and the store as well.
type slots chan struct{}

// limit returns l with its connections counted against the slots.
func (s slots) limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, slots: s, files: fileLimit, done: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	slots  slots
	files  func() (int, error) // how many may be open now
	done   chan struct{}       // closed by Close
	closed sync.Once
}

// Accept waits for a free slot, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	if !l.awaitFiles() {
		<-l.slots
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// scarcePause is how often the limit is looked at while too few files may be open.
const scarcePause = 100 * time.Millisecond

// awaitFiles waits while the slots taken are more than the limit leaves for
// clients: it can be lowered under a running process, and raft and the store
// must have theirs. It reports false when the listener was closed.
func (l *limitedListener) awaitFiles() bool {
	for {
		if files, err := l.files(); err != nil || len(l.slots) <= files-reservedFiles {
			return true
		}
		select {
		case <-l.done:
			return false
		case <-time.After(scarcePause):
		}
	}
}

// Close also ends an Accept that waits for a slot.
func (l *limitedListener) Close() error {
	l.closed.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// SyscallConn lets a server write without waiting for the client.
func (c *limitedConn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}

// CloseWrite lets a server say all it has to say to a client that still sends.
func (c *limitedConn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close gives the slot back, once.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
