package park

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/witan-kv/witan/watch"
)

// serve answers the request that b begins with if it is a watch, and otherwise
// hands the connection back to net/http.
func (c *conn) serve(b *buffer) {
	defer b.release()
	if r := c.lot.parseWatch(b.b); r != nil {
		if c.remote == "" {
			c.remote = c.net.RemoteAddr().String()
		}
		r.RemoteAddr = c.remote
		a := &answer{conn: c, header: make(http.Header, 8)}
		if a.try(c.lot.config.Handler, r) {
			return
		}
	}
	c.handOver(b.b)
}

// parseWatch returns the request in text if text is the head of a plain
// request that may be a watch, and nothing else. What could be understood in
// two ways, or is only rarely seen, is left to net/http.
func (l *Lot) parseWatch(text []byte) *http.Request {
	line, rest, ok := bytes.Cut(text, lineEnd)
	if !ok || !bytes.HasPrefix(line, get) || !bytes.HasSuffix(line, http11) || !bytes.Contains(line, wait) ||
		bytes.Index(rest, endOfHead) != len(rest)-len(endOfHead) || !isPlain(text) {
		return nil
	}
	p := parsers.Get().(*parser)
	defer parsers.Put(p)
	p.text.Reset(text)
	p.r.Reset(&p.text)
	r, err := http.ReadRequest(p.r)
	if err != nil || r.ContentLength != 0 || r.Close || !isPlainHost(r.Host) {
		return nil
	}
	for _, name := range unusual {
		if r.Header[name] != nil {
			return nil
		}
	}
	return r.WithContext(l.config.Context)
}

var (
	get       = []byte("GET /")
	wait      = []byte("wait=true")
	http11    = []byte(" HTTP/1.1")
	endOfHead = []byte("\r\n\r\n")

	// unusual are headers that would make net/http do something.
	unusual = []string{"Expect", "Upgrade", "Transfer-Encoding", "Trailer", "Http2-Settings"}

	chunkedEncoding = []string{"chunked"}
)

// isPlain reports whether the head of a request has only printable ASCII and
// line ends in it, and no line that goes on with the next.
func isPlain(head []byte) bool {
	for i, c := range head {
		switch {
		case c == '\r':
			if i+1 == len(head) || head[i+1] != '\n' {
				return false
			}
		case c == '\n':
			if i == 0 || head[i-1] != '\r' || i+1 < len(head) && head[i+1] == ' ' {
				return false
			}
		case c < ' ' || c > '~':
			return false
		}
	}
	return true
}

const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_[]"

// isPlainHost reports whether host is a name or an address, perhaps with a port.
func isPlainHost(host string) bool { return host != "" && strings.Trim(host, hostBytes) == "" }

// parser is what it takes to read a request from memory.
type parser struct {
	text bytes.Reader
	r    *bufio.Reader
}

var parsers = sync.Pool{New: func() any {
	p := &parser{}
	p.r = bufio.NewReaderSize(&p.text, requestBytes)
	return p
}}

// answer is the http.ResponseWriter of a request on a connection of the lot.
// All that can be done with it is to park.
type answer struct {
	conn   *conn
	header http.Header
	parked bool
}

var errNotHere = errors.New("park: the request has to be served by net/http")

func (a *answer) Header() http.Header       { return a.header }
func (a *answer) WriteHeader(int)           {}
func (a *answer) Write([]byte) (int, error) { return 0, errNotHere }

// answerBehind returns the answer that w wraps, if there is one.
func answerBehind(w http.ResponseWriter) *answer {
	for {
		switch t := w.(type) {
		case *answer:
			return t
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}

// try serves r and reports whether it is parked. If not, nothing has happened.
func (a *answer) try(h http.Handler, r *http.Request) (parked bool) {
	defer func() {
		_ = recover() // what panics here will panic again, in front of net/http
		parked = a.parked
	}()
	h.ServeHTTP(a, r)
	return a.parked
}

// park writes the head and begins the watch.
func (a *answer) park(watcher *watch.Watcher, stream bool) {
	a.parked = true
	head := takeBuffer()
	head.b = append(head.b, "HTTP/1.1 200 OK\r\n"...)
	_ = a.header.Write(head) // to memory
	if _, ok := a.header["Date"]; !ok {
		head.b = append(head.b, "Date: "...)
		head.b = time.Now().UTC().AppendFormat(head.b, http.TimeFormat)
		head.b = append(head.b, lineEnd...)
	}
	head.b = append(head.b, "Transfer-Encoding: chunked\r\n\r\n"...)
	_ = a.conn.net.SetReadDeadline(time.Time{}) // the client need not say anything any more
	a.conn.park(head, watcher, stream)
}
