package park

import (
	"net"
	"sync"
	"time"
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
	_ = c.net.SetReadDeadline(time.Time{}) // a replay begins without
	select {
	case c.lot.handover.conns <- &replay{Conn: c.net, early: append([]byte(nil), read...)}:
	case <-c.lot.handover.done:
		_ = c.net.Close()
	}
}
