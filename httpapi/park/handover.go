package park

import (
	"errors"
	"net"
	"sync"
)

// handover is a net.Listener of connections whose next request is not for the lot.
type handover struct {
	conns  chan net.Conn
	done   chan struct{} // closed by Close
	closed sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.closed.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return &net.UnixAddr{Name: "parked", Net: "unix"} }

// handOver gives the connection away, with what has been read of its next request.
func (c *conn) handOver(read []byte) {
	c.lot.remove(c)
	select {
	case c.lot.handover.conns <- &replay{c.net, append([]byte(nil), read...)}:
	case <-c.lot.handover.done:
		_ = c.net.Close()
	}
}

// replay is a connection of which something has been read.
type replay struct {
	net.Conn
	early []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.early) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.early)
	if r.early = r.early[n:]; len(r.early) == 0 {
		r.early = nil
	}
	return n, nil
}

// CloseWrite lets net/http say all it has to say to a client that still sends.
func (r *replay) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
