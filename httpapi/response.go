package httpapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/witan-kv/witan/cluster"
)

// The headers of answers, spelled as net/http keeps them, so that they can be
// put into a header map as they are.
const (
	headerClusterID     = "X-Etcd-Cluster-Id"
	headerIndex         = "X-Etcd-Index"
	headerRaftIndex     = "X-Raft-Index"
	headerRaftTerm      = "X-Raft-Term"
	headerContentType   = "Content-Type"
	headerContentLength = "Content-Length"
)

// writeTimeout is how long a client may take to read one event, or one chunk
// of a large answer, before its connection is given up. The deadline stays on
// until the connection is idle, so it covers what net/http writes last.
const writeTimeout = 10 * time.Second

// writeChunk is how much is written under one deadline. Answers up to this
// size fit into a socket's buffers and need no deadline.
const writeChunk = 64 << 10

// jsonType is shared by all answers and never changed.
var jsonType = []string{"application/json"}

// writeAnswer sends a successful answer of the key space.
func writeAnswer(w http.ResponseWriter, status int, a cluster.Answer, body []byte) {
	startAnswer(w.Header(), a, len(body))
	w.WriteHeader(status)
	writeBody(w, body)
}

// startAnswer sets the headers of a successful answer of the key space. A
// negative length means that it is not known yet.
func startAnswer(h http.Header, a cluster.Answer, length int) {
	// All numbers share one string, and the values one array.
	var room [4 * 20]byte
	digits := strconv.AppendUint(room[:0], a.Index, 10)
	index := len(digits)
	digits = strconv.AppendUint(digits, a.RaftIndex, 10)
	raftIndex := len(digits)
	digits = strconv.AppendUint(digits, a.Term, 10)
	term := len(digits)
	digits = strconv.AppendInt(digits, int64(length), 10)
	text := string(digits)
	values := [...]string{text[:index], text[index:raftIndex], text[raftIndex:term], text[term:]}

	h[headerIndex] = values[0:1:1]
	h[headerRaftIndex] = values[1:2:2]
	h[headerRaftTerm] = values[2:3:3]
	if length >= 0 {
		h[headerContentLength] = values[3:4:4]
	}
	h[headerContentType] = jsonType
}

// writeBody sends body. A client that is gone is of no interest, so errors
// are not either.
func writeBody(w http.ResponseWriter, body []byte) {
	if len(body) <= writeChunk {
		_, _ = w.Write(body)
		return
	}
	client := http.NewResponseController(w)
	for len(body) > 0 {
		n := min(len(body), writeChunk)
		_ = client.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}

// buffer is scratch space for one request.
type buffer struct{ b []byte }

// maxPooled is the largest buffer kept for later requests.
const maxPooled = 128 << 10

// buffers is a free list and nothing more: what was in a buffer is never seen again.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

// release gives the buffer back. Nothing of it may be used afterwards.
func (b *buffer) release() {
	if cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// readFrom appends all of r, which claims to be size bytes long, or -1 if it
// does not say. A claim is not believed beyond what a pooled buffer holds: it
// costs a client nothing.
func (b *buffer) readFrom(r io.Reader, size int) error {
	const step = 512
	b.b = slices.Grow(b.b, min(max(size, 0)+step, maxPooled-len(b.b)))
	for {
		b.b = slices.Grow(b.b, step)
		n, err := r.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
