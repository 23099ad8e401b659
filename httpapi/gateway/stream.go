package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// writeTimeout is how long a client may take to read one piece of an answer
// before its connection is given up. The deadline stays on until the
// connection is idle, so it covers what net/http writes last.
const writeTimeout = 10 * time.Second

// isWatch reports whether a request waits for events, without limit.
func isWatch(r *http.Request) bool {
	if r.Method != http.MethodGet || r.URL.RawQuery == "" {
		return false
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // what is wrong with it is for the member to say
	wait, err := strconv.ParseBool(query.Get("wait"))
	return err == nil && wait
}

// endWith returns r with a context that also ends when closing does.
func endWith(closing context.Context, r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(closing, cancel)
	return r.WithContext(ctx), func() { stop(); cancel() }
}

// events is the body of a watch. When its member goes, it ends as it does when
// a member ends a watch in order, which clients take as a reason to ask again:
// with nothing, or after whole events. Only half an event is an error.
type events struct {
	io.ReadCloser
	last byte // that was read, '\n' at the beginning
}

func watchBody(body io.ReadCloser) io.ReadCloser { return &events{ReadCloser: body, last: '\n'} }

func (e *events) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if n > 0 {
		e.last = p[n-1]
	}
	if err != nil && e.last == '\n' {
		err = io.EOF
	}
	return n, err
}

// clientWriter gives the client some time for each piece of an answer.
type clientWriter struct{ http.ResponseWriter }

func (w clientWriter) Write(p []byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout)) // a writer without a connection has none
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (w clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clearWriteDeadline takes back clientWriter's deadline before the
// connection's next request.
func clearWriteDeadline(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		// An error here means a broken connection, which the next read meets.
		_ = c.SetWriteDeadline(time.Time{})
	}
}
