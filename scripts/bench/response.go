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

	// Of an answer that is read event by event:
	inChunk bool   // the end of a chunk has not been read yet
	left    int64  // bytes of that chunk that were not read
	event   []byte // the event read last
}

func newResponses(from io.Reader) *responses {
	return &responses{from: from, buf: make([]byte, maxHeader)}
}

var (
	errHeader = errors.New("answer is not HTTP/1.1, or its head is too long")
	errLength = errors.New("answer has neither a length nor chunks")
	errChunk  = errors.New("answer has a broken chunk")

	errNoEvents = errors.New("answer is not a series of events")
	errEnded    = errors.New("answer has no more events")
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
	if isChunked(head) {
		return status, r.skipChunks()
	}
	if status == 204 || status == 304 {
		return status, nil
	}
	return 0, errLength
}

// open reads the head of an answer whose body comes little by little, which
// nextEvent and drain read.
func (r *responses) open() error {
	head, err := r.head()
	if err != nil {
		return err
	}
	status, err := parseStatus(head)
	if err != nil {
		return err
	}
	if status != 200 || !isChunked(head) {
		return fmt.Errorf("%w: status %d", errNoEvents, status)
	}
	r.inChunk, r.left = false, 0
	return nil
}

// nextEvent returns the next line of the answer, with its end. It is valid
// until the next read.
func (r *responses) nextEvent() ([]byte, error) {
	r.event = r.event[:0]
	for {
		if err := r.enterChunk(); err != nil {
			return nil, err
		}
		if r.pos == r.end {
			if err := r.fillBody(); err != nil {
				return nil, err
			}
		}
		have := r.buf[r.pos:min(r.end, r.pos+int(r.left))]
		newline := bytes.IndexByte(have, '\n')
		if newline >= 0 {
			have = have[:newline+1]
		}
		r.event = append(r.event, have...)
		r.pos += len(have)
		r.left -= int64(len(have))
		if newline >= 0 {
			return r.event, nil
		}
	}
}

// enterChunk goes on to the next chunk if nothing is left of the one before.
func (r *responses) enterChunk() error {
	if r.left > 0 {
		return nil
	}
	if r.inChunk {
		if err := r.chunkEnd(); err != nil {
			return err
		}
		r.inChunk = false
	}
	n, err := r.chunkSize()
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.Join(errEnded, r.chunkEnd())
	}
	r.inChunk, r.left = true, n
	return nil
}

// drain reads an answer that was opened to its end.
func (r *responses) drain() error {
	if r.inChunk {
		if err := errors.Join(r.skip(r.left), r.chunkEnd()); err != nil {
			return err
		}
	}
	return r.skipChunks()
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
		n, err := r.chunkSize()
		if err != nil {
			return err
		}
		if err := r.skip(n); err != nil {
			return err
		}
		if err := r.chunkEnd(); err != nil || n == 0 {
			return err
		}
	}
}

func (r *responses) chunkSize() (int64, error) {
	line, err := r.line()
	if err != nil {
		return 0, err
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(size)), 16, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: size %q", errChunk, size)
	}
	return n, nil
}

func (r *responses) chunkEnd() error {
	end, err := r.line()
	if err == nil && len(end) > 0 {
		err = fmt.Errorf("%w: it ends with %q", errChunk, end)
	}
	return err
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

func isChunked(head []byte) bool {
	coding, _ := headerValue(head, "transfer-encoding")
	return bytes.EqualFold(coding, []byte("chunked"))
}

// modifiedIndex returns the index of an event: that of its node, which comes
// first.
func modifiedIndex(event []byte) (uint64, error) {
	_, after, ok := bytes.Cut(event, []byte(`"modifiedIndex":`))
	digits := 0
	for digits < len(after) && '0' <= after[digits] && after[digits] <= '9' {
		digits++
	}
	if !ok || digits == 0 {
		return 0, fmt.Errorf("%w: %q", errNoEvents, event)
	}
	return strconv.ParseUint(string(after[:digits]), 10, 64)
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
