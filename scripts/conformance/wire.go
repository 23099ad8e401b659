package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// request is one HTTP request, written to the wire exactly as it stands here.
type request struct {
	method string
	target string   // the raw request target
	header []string // whole lines, beside Host, Content-Length and the default Content-Type
	body   string
}

const formType = "application/x-www-form-urlencoded"

// has reports whether the request carries a header of this name.
func (r request) has(name string) bool {
	return slices.ContainsFunc(r.header, func(line string) bool {
		n, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(n, name)
	})
}

// encode renders the request. A body is sent as a form unless a Content-Type
// line says otherwise; the line "Content-Type:" alone sends none at all. With
// "Transfer-Encoding: chunked" the body goes out as one chunk.
func (r request) encode(host string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
	if !r.has("Host") {
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	for _, line := range r.header {
		if !strings.HasSuffix(line, ":") {
			b.WriteString(line + "\r\n")
		}
	}
	if !r.has("Content-Type") && r.body != "" {
		b.WriteString("Content-Type: " + formType + "\r\n")
	}
	body := r.body
	if r.has("Transfer-Encoding") {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	} else if !r.has("Content-Length") && (body != "" || takesBody(r.method)) {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.WriteString(body)
	return []byte(b.String())
}

func takesBody(method string) bool {
	return method == http.MethodPut || method == http.MethodPost || method == http.MethodPatch
}

// path returns the raw path of the target, query the raw query.
func (r request) path() string {
	p, _, _ := strings.Cut(r.target, "?")
	return p
}

func (r request) query() string {
	_, q, _ := strings.Cut(r.target, "?")
	return q
}

// answer is what came back. With err set nothing else is meaningful.
type answer struct {
	status  int
	header  http.Header
	length  int64 // Content-Length, -1 if there was none
	chunked bool
	closes  bool // the server closes the connection afterwards
	body    []byte
	err     error
}

// conn is one keep-alive connection to a server, dialled when first needed and
// again after the server closed it. It is for one goroutine.
type conn struct {
	addr string
	c    net.Conn
	r    *bufio.Reader
}

var errNotSent = errors.New("the request could not be sent")

// send writes the request and does not wait for the answer.
func (c *conn) send(r request, timeout time.Duration) error {
	if c.c == nil {
		nc, err := net.DialTimeout("tcp", c.addr, timeout)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotSent, err)
		}
		c.c, c.r = nc, bufio.NewReader(nc)
	}
	if err := c.c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	// A server may answer and close before it has read all of a large body, so
	// a failed write is not the end: the answer may be there to read.
	if _, err := c.c.Write(r.encode(c.addr)); err != nil && len(r.body) < 1<<20 {
		c.close()
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	return nil
}

// receive reads the answer to the request sent last, body included.
func (c *conn) receive(method string) answer {
	resp, a := c.head(method)
	if a.err != nil {
		return a
	}
	a.body, a.err = io.ReadAll(resp.Body)
	if a.closes || a.err != nil {
		c.close()
	}
	return a
}

// head reads status and headers; the body is left in resp.Body.
func (c *conn) head(method string) (*http.Response, answer) {
	if c.c == nil {
		return nil, answer{err: errNotSent}
	}
	for {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			c.close()
			return nil, answer{err: err}
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		return resp, answer{
			status:  resp.StatusCode,
			header:  resp.Header,
			length:  resp.ContentLength,
			chunked: len(resp.TransferEncoding) > 0,
			closes:  resp.Close,
		}
	}
}

func (c *conn) close() {
	if c.c != nil {
		_ = c.c.Close() // nothing was buffered that could be lost
		c.c, c.r = nil, nil
	}
}
