package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// The upgrade request of a raft connection.
const (
	raftPath      = "/raft"
	raftProtocol  = "witan-raft/1"
	headerCluster = "X-Witan-Cluster"
	headerFrom    = "X-Witan-From"
	headerTo      = "X-Witan-To"
	headerURLs    = "X-Witan-Urls" // of the sender, with commas
)

const (
	dialTimeout  = 2 * time.Second
	writeTimeout = 10 * time.Second
	redialPause  = 100 * time.Millisecond
)

// dial opens a raft connection to a member, trying its peer URLs in turn. Whoever asks for pulses must read them.
func (t *Transport) dial(ctx context.Context, member uint64, pulses bool) (*dialed, error) {
	urls := t.cfg.Addresses(member)
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: %x", errNoAddress, member)
	}
	var failures []error
	for _, u := range urls {
		conn, err := t.dialURL(ctx, member, u, pulses)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// Probe opens a raft connection to a member and closes it again. It finds out
// whether the member still takes this one for one of the cluster.
func (t *Transport) Probe(ctx context.Context, member uint64) error {
	conn, err := t.dial(ctx, member, false)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dialed is a raft connection, and whether the other side says now and then that bytes arrive.
type dialed struct {
	net.Conn
	pulses bool
}

func (t *Transport) dialURL(ctx context.Context, member uint64, raw string, pulses bool) (*dialed, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	pulses, err = t.upgrade(conn, member, u.Host, pulses)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("peer: %s: %w", raw, err)
	}
	return &dialed{conn, pulses}, nil
}

// upgrade turns a fresh connection into one for raft frames. It says whether there will be pulses, which an older member does not send.
func (t *Transport) upgrade(conn net.Conn, member uint64, host string, ask bool) (pulses bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return false, err
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+host+raftPath, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", raftProtocol)
	req.Header.Set(headerCluster, Target(t.cfg.Cluster))
	req.Header.Set(headerFrom, Target(t.cfg.Self))
	req.Header.Set(headerTo, Target(member))
	req.Header.Set(headerURLs, strings.Join(t.cfg.URLs, ","))
	if ask {
		req.Header.Set(headerPulse, "1")
	}
	t.cfg.Origin.set(req.Header)
	if err := req.Write(conn); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		err := refusal(resp)
		if refusals[resp.StatusCode] != nil && t.cfg.Refused != nil {
			t.cfg.Refused(member, err)
		}
		return false, err
	}
	if err := t.admit(member, resp.Header); err != nil {
		return false, err
	}
	return resp.Header.Get(headerPulse) != "", conn.SetDeadline(time.Time{})
}

// messageConn sends message batches to one member. Dragonboat calls it from
// one goroutine.
type messageConn struct {
	t      *Transport
	to     uint64
	link   *link // nil when not connected
	buf    []byte
	nextAt time.Time // no dial before
}

// Close implements raftio.IConnection.
func (c *messageConn) Close() { c.drop() }

func (c *messageConn) drop() {
	if c.link != nil {
		c.link.close()
		c.link = nil
	}
}

// SendMessageBatch implements raftio.IConnection. A connection that broke is
// made again at once and the batch sent on the new one: raft does not mind
// getting a message twice. While the member cannot be reached batches are
// dropped, as a network would. It never returns an error: Dragonboat would
// stay away from the member for a while.
func (c *messageConn) SendMessageBatch(batch pb.MessageBatch) error {
	need := frameHeader + batch.SizeUpperLimit()
	if cap(c.buf) < need {
		c.buf = make([]byte, need)
	}
	n := len(pb.MustMarshalTo(&batch, c.buf[frameHeader:need]))
	frame := c.buf[:frameHeader+n]
	putFrameHeader(frame, frameMessages)
	if !c.send(frame) {
		c.send(frame)
	}
	if cap(c.buf) > 1<<20 {
		c.buf = nil // a burst is over; do not hold its memory
	}
	return nil
}

// send tries once to get a frame to the member.
func (c *messageConn) send(frame []byte) bool {
	if c.link != nil && !c.link.alive() {
		c.drop()
	}
	if c.link == nil && !c.connect() {
		return false
	}
	c.link.expect()
	if err := writeFrame(c.link, frame); err != nil {
		c.t.cfg.Logger.Debug().Err(err).Str("member", Target(c.to)).Msg("connection to peer broke")
		c.drop()
		return false
	}
	return true
}

func (c *messageConn) connect() bool {
	if time.Now().Before(c.nextAt) {
		return false
	}
	conn, err := c.t.dial(c.t.ctx, c.to, true)
	if err != nil {
		c.nextAt = time.Now().Add(redialPause)
		c.t.cfg.Logger.Debug().Err(err).Str("member", Target(c.to)).Msg("cannot connect to peer")
		return false
	}
	c.link = newLink(conn.Conn, conn.pulses)
	return true
}

// snapshotConn streams the chunks of one snapshot.
type snapshotConn struct {
	conn net.Conn
}

// Close implements raftio.ISnapshotConnection. What was written still arrives:
// the other side sends nothing, so closing ends in a FIN after the data.
func (c *snapshotConn) Close() { c.conn.Close() }

// SendChunk implements raftio.ISnapshotConnection.
func (c *snapshotConn) SendChunk(chunk pb.Chunk) error {
	buf := make([]byte, frameHeader+chunk.Size())
	n := len(pb.MustMarshalTo(&chunk, buf[frameHeader:]))
	frame := buf[:frameHeader+n]
	putFrameHeader(frame, frameChunk)
	return writeFrame(c.conn, frame)
}

func writeFrame(conn net.Conn, frame []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	if _, err := conn.Write(frame); err != nil {
		return fmt.Errorf("peer: send: %w", err)
	}
	return nil
}
