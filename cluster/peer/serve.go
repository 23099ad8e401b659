package peer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// idleTimeout is above Dragonboat's own: a sender with nothing to say for a
// minute closes its connection itself.
const idleTimeout = 3 * time.Minute

// inbound is a raft connection from another member.
type inbound struct {
	conn   net.Conn
	from   uint64
	origin Origin
	pulses bool // the sender wants to know that bytes arrive
}

// ServeHTTP upgrades a request of a member of this cluster to a raft
// connection. Everybody else sends no frame and gets the reason, with 410 if
// it was removed, 409 if it lost its data, 421 if its cluster is another, and 412 otherwise.
func (t *Transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := t.identify(r)
	if err != nil {
		refuse(w, err)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "this connection cannot be upgraded", http.StatusHTTPVersionNotSupported)
		return
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		t.cfg.Logger.Warn().Err(err).Msg("peer connection was not upgraded")
		return
	}
	in.conn = conn
	if !t.track(in) {
		conn.Close()
		return
	}
	defer t.untrack(in)
	t.serve(in, rw)
}

// identify returns the member a request comes from.
func (t *Transport) identify(r *http.Request) (*inbound, error) {
	if r.Header.Get("Upgrade") != raftProtocol {
		return nil, fmt.Errorf("this is for raft connections: Upgrade: %s", raftProtocol)
	}
	cluster, err := parseTarget(r.Header.Get(headerCluster))
	if err != nil || cluster != t.cfg.Cluster {
		return nil, fmt.Errorf("%w: this is %x, not %q", ErrOtherCluster, t.cfg.Cluster, r.Header.Get(headerCluster))
	}
	// Whoever must not take part hears so at every address it knows, though
	// another member may have moved in there.
	from, err := parseTarget(r.Header.Get(headerFrom))
	if err == nil {
		err = t.admit(from, r.Header)
	}
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(r.Header.Get(headerTo))
	if err != nil || to != t.cfg.Self {
		return nil, fmt.Errorf("another member: this is %x, not %q", t.cfg.Self, r.Header.Get(headerTo))
	}
	if urls := r.Header.Get(headerURLs); urls != "" && from != t.cfg.Self && t.cfg.Met != nil {
		t.cfg.Met(from, strings.Split(urls, ","))
	}
	if from == t.cfg.Self || len(t.cfg.Addresses(from)) == 0 {
		return nil, fmt.Errorf("%q is not another member of this cluster", r.Header.Get(headerFrom))
	}
	origin, err := originOf(r.Header)
	return &inbound{from: from, origin: origin, pulses: r.Header.Get(headerPulse) != ""}, err
}

func (t *Transport) track(in *inbound) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.messages == nil {
		return false
	}
	t.open[in] = struct{}{}
	t.wg.Add(1)
	return true
}

func (t *Transport) untrack(in *inbound) {
	in.conn.Close()
	t.mu.Lock()
	delete(t.open, in)
	t.mu.Unlock()
	t.wg.Done()
}

// serve answers the upgrade and hands over frames until the connection ends.
func (t *Transport) serve(in *inbound, rw *bufio.ReadWriter) {
	log := t.cfg.Logger.With().Str("member", Target(in.from)).Logger()
	defer func() {
		// Decoders of raft messages index into what they are given. Whatever
		// a broken peer sends ends its connection, not this process.
		if p := recover(); p != nil {
			log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("peer sent what cannot be decoded")
		}
	}()
	_ = in.conn.SetDeadline(time.Now().Add(dialTimeout))
	if err := t.welcome(in, rw); err != nil {
		return
	}
	_ = in.conn.SetWriteDeadline(time.Time{})
	frames := in.frames(rw.Reader)
	var buf bytes.Buffer
	for {
		_ = in.conn.SetReadDeadline(time.Now().Add(idleTimeout))
		kind, payload, err := readFrame(frames, &buf)
		if err == nil {
			err = t.handle(in.from, kind, payload)
		}
		if err != nil {
			log.Debug().Err(err).Msg("raft connection ended")
			return
		}
		t.hear(in.from)
		if buf.Cap() > 4<<20 {
			buf = bytes.Buffer{} // a snapshot or a burst is over
		}
	}
}

// frames is what arrives on the connection, after what was read with the request.
func (in *inbound) frames(r *bufio.Reader) io.Reader {
	if !in.pulses {
		return r
	}
	early, _ := r.Peek(r.Buffered())
	return bufio.NewReader(io.MultiReader(bytes.NewReader(early), &pulsing{Conn: in.conn}))
}

// welcome answers the upgrade, and says what this member runs from.
func (t *Transport) welcome(in *inbound, rw *bufio.ReadWriter) error {
	h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {raftProtocol}}
	t.cfg.Origin.set(h)
	if in.pulses {
		h.Set(headerPulse, "1")
	}
	if _, err := rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := h.Write(rw); err != nil {
		return err
	}
	if _, err := rw.WriteString("\r\n"); err != nil {
		return err
	}
	return rw.Flush()
}

// handle decodes one frame and gives it to Dragonboat.
func (t *Transport) handle(from uint64, kind byte, payload []byte) error {
	switch kind {
	case frameMessages:
		// Messages keep references into what they are decoded from.
		var batch pb.MessageBatch
		if err := batch.Unmarshal(bytes.Clone(payload)); err != nil {
			return fmt.Errorf("peer: message batch: %w", err)
		}
		if err := t.checkBatch(from, batch); err != nil {
			return err
		}
		t.messages(batch)
		t.repeatTimeoutNow(batch)
	case frameChunk:
		var chunk pb.Chunk
		if err := chunk.Unmarshal(bytes.Clone(payload)); err != nil {
			return fmt.Errorf("peer: snapshot chunk: %w", err)
		}
		if chunk.DeploymentId != t.cfg.Cluster || chunk.From != from {
			return fmt.Errorf("peer: a snapshot of member %x came from %x", chunk.From, from)
		}
		if !t.chunks(chunk) {
			return fmt.Errorf("peer: snapshot chunk %d was refused", chunk.ChunkId)
		}
	default:
		return fmt.Errorf("peer: unknown frame kind %d", kind)
	}
	return nil
}

// repeatTimeoutNow gives the messages by which a leader hands over (Raft §3.10)
// to Dragonboat some more times: a replica that has not yet applied all it
// knows to be committed ignores them, as under load most do for a moment, and
// then the group takes no writes until the leader gives up, seven tenths of an
// election time-out later. To one that has stood by then they say nothing new:
// its term is higher.
func (t *Transport) repeatTimeoutNow(batch pb.MessageBatch) {
	again := batch
	again.Requests = nil
	for _, m := range batch.Requests {
		if m.Type == pb.TimeoutNow {
			again.Requests = append(again.Requests, m)
		}
	}
	if len(again.Requests) == 0 {
		return
	}
	t.wg.Go(func() {
		for pause := 2 * time.Millisecond; pause < 300*time.Millisecond; pause *= 2 {
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(pause):
			}
			t.messages(again)
		}
	})
}

// checkBatch refuses messages a member sends in another's name: Dragonboat
// panics when one replica seems to live at two places.
func (t *Transport) checkBatch(from uint64, batch pb.MessageBatch) error {
	if batch.DeploymentId != t.cfg.Cluster || batch.SourceAddress != Target(from) {
		return fmt.Errorf("peer: a batch of %s came from %x", batch.SourceAddress, from)
	}
	for i := range batch.Requests {
		m := &batch.Requests[i]
		if (m.From != from && m.From != 0) || m.To != t.cfg.Self {
			return fmt.Errorf("peer: a message from %x to %x came from %x", m.From, m.To, from)
		}
		if m.Type == pb.Heartbeat {
			if err := t.checkCommit(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCommit looks whether this member has what its leader knows it had: a
// heartbeat says what is committed of the entries this member has acknowledged.
// If the log ends before that, the data directory was rolled back,
// and Dragonboat would panic without saying so (engine §0.5).
func (t *Transport) checkCommit(m *pb.Message) error {
	if t.cfg.LogEnd == nil {
		return nil
	}
	last, ok := t.cfg.LogEnd(m.ShardID)
	if !ok || m.Commit <= last {
		return nil
	}
	t.cfg.Behind(m.ShardID, last, m.Commit)
	return fmt.Errorf("peer: the log of shard %d ends at %d, member %x counts on %d", m.ShardID, last, m.From, m.Commit)
}
