package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxHeader is the longest answer head that is read, bytes.
const maxHeader = 16 << 10

// responses reads the answers to GET, PUT, POST and DELETE requests from one
// HTTP/1.1 connection. It finds status and end of each and drops the rest:
// the client shares the machine with the server it measures.
type responses struct {
	from io.Reader
	buf  []byte // buf[pos:end] is read and not yet used
	pos  int
	end  int
}

func newResponses(from io.Reader) *responses {
	return &responses{from: from, buf: make([]byte, maxHeader)}
}

var (
	errHeader = errors.New("answer is not HTTP/1.1, or its head is too long")
	errLength = errors.New("answer has neither a length nor chunks")
	errChunk  = errors.New("answer has a broken chunk")
)

// next reads one answer to its end and returns its status.
func (r *responses) next() (status int, err error) {
	head, err := r.head()
	if err != nil {
		return 0, err
	}
	status, err = parseStatus(head)
	if err != nil {
		return 0, err
	}
	if length, ok := headerValue(head, "content-length"); ok {
		n, err := strconv.ParseInt(string(length), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%w: content-length %q", errLength, length)
		}
		return status, r.skip(n)
	}
	if coding, ok := headerValue(head, "transfer-encoding"); ok && bytes.EqualFold(coding, []byte("chunked")) {
		return status, r.skipChunks()
	}
	if status == 204 || status == 304 {
		return status, nil
	}
	return 0, errLength
}

// head returns the status line and the headers with their line ends. They
// are valid until the next read.
func (r *responses) head() ([]byte, error) {
	searched := 0
	for {
		unread := r.buf[r.pos:r.end]
		if i := bytes.Index(unread[searched:], []byte("\r\n\r\n")); i >= 0 {
			size := searched + i + 4
			r.pos += size
			return unread[:size-2], nil
		}
		searched = max(0, len(unread)-3)
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(unread) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// fill reads once. What is unread moves to the front if there is no room
// behind it.
func (r *responses) fill() error {
	if r.pos == r.end {
		r.pos, r.end = 0, 0
	}
	if r.end == len(r.buf) {
		if r.pos == 0 {
			return errHeader
		}
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	n, err := r.from.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// skip drops n bytes.
func (r *responses) skip(n int64) error {
	for {
		have := min(n, int64(r.end-r.pos))
		r.pos += int(have)
		n -= have
		if n == 0 {
			return nil
		}
		if err := r.fillBody(); err != nil {
			return err
		}
	}
}

func (r *responses) fillBody() error {
	err := r.fill()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skipChunks drops a chunked body. Trailers are not expected.
func (r *responses) skipChunks() error {
	for {
		line, err := r.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(bytes.TrimSpace(size)), 16, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: size %q", errChunk, size)
		}
		if err := r.skip(n); err != nil {
			return err
		}
		end, err := r.line()
		if err != nil {
			return err
		}
		if len(end) > 0 {
			return fmt.Errorf("%w: it ends with %q", errChunk, end)
		}
		if n == 0 {
			return nil
		}
	}
}

// line returns a line without its end. It is valid until the next read.
func (r *responses) line() ([]byte, error) {
	for {
		unread := r.buf[r.pos:r.end]
		if i := bytes.Index(unread, []byte("\r\n")); i >= 0 {
			r.pos += i + 2
			return unread[:i], nil
		}
		if err := r.fillBody(); err != nil {
			return nil, err
		}
	}
}

// parseStatus returns the status of an answer's head.
func parseStatus(head []byte) (int, error) {
	const prefix = "HTTP/1.1 "
	if len(head) < len(prefix)+3 || string(head[:len(prefix)]) != prefix {
		return 0, errHeader
	}
	status := 0
	for _, digit := range head[len(prefix) : len(prefix)+3] {
		if digit < '0' || digit > '9' {
			return 0, errHeader
		}
		status = status*10 + int(digit-'0')
	}
	return status, nil
}

// headerValue returns the value of the first header called name, which is
// given in lower case.
func headerValue(head []byte, name string) (value []byte, ok bool) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && equalLower(line[:len(name)], name) {
			return bytes.TrimSpace(line[len(name)+1:]), true
		}
	}
	return nil, false
}

// equalLower says whether text is lower but for the case of ASCII letters.
func equalLower(text []byte, lower string) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
