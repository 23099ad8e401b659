package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	sized   = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
	chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n"
)

func TestResponses(t *testing.T) {
	tests := []struct {
		name     string
		wire     string
		statuses []int
		err      error // after them
	}{
		{"one", sized, []int{201}, io.EOF},
		{"several", sized + chunked + sized, []int{201, 200, 201}, io.EOF},
		{"no body", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" + sized, []int{404, 201}, io.EOF},
		{"never a body", "HTTP/1.1 204 No Content\r\n\r\n" + sized, []int{204, 201}, io.EOF},
		{"lower case", "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nab" + sized, []int{200, 201}, io.EOF},
		{"similar header", "HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nContent-Lengthy: 8\r\nContent-Length: 2\r\n\r\nab", []int{200}, io.EOF},
		{"body longer than the buffer", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000) + sized, []int{200, 201}, io.EOF},
		{"cut in the head", sized + "HTTP/1.1 200", []int{201}, io.ErrUnexpectedEOF},
		{"cut in the body", sized + sized[:len(sized)-1], []int{201}, io.ErrUnexpectedEOF},
		{"cut between chunks", chunked[:len(chunked)-5], nil, io.ErrUnexpectedEOF},
		{"until the end of the connection", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", nil, errLength},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", nil, errLength},
		{"chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", nil, errChunk},
		{"chunk of another size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", nil, errChunk},
		{"another protocol", "SSH-2.0-OpenSSH\r\n\r\n", nil, errHeader},
		{"status of letters", "HTTP/1.1 2x0 OK\r\n\r\n", nil, errHeader},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader), nil, errHeader},
	}
	// The wire comes in pieces of any size.
	pieces := map[string]func(io.Reader) io.Reader{
		"at once":             func(r io.Reader) io.Reader { return r },
		"halves":              iotest.HalfReader,
		"bytes":               iotest.OneByteReader,
		"data with the error": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for name, split := range pieces {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				r := newResponses(split(strings.NewReader(tt.wire)))
				for i, want := range tt.statuses {
					if got, err := r.next(); got != want || err != nil {
						t.Fatalf("answer %d: got %d, %v, want %d", i, got, err, want)
					}
				}
				if _, err := r.next(); !errors.Is(err, tt.err) {
					t.Errorf("at the end: got %v, want %v", err, tt.err)
				}
			})
		}
	}
}

func TestResponsesDoNotAllocate(t *testing.T) {
	wire := strings.Repeat(sized, 1000)
	r := newResponses(strings.NewReader(wire))
	if n := testing.AllocsPerRun(900, func() {
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations an answer, want none: they would be the client's share of the machine", n)
	}
}

// TestEvents reads long polls and streams in pieces of any size.
func TestEvents(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := []struct {
		name   string
		body   string
		events []string
		err    error // after them
	}{
		{"a long poll", "4\r\none\n\r\n0\r\n\r\n", []string{"one\n"}, errEnded},
		{"a chunk for each", "4\r\none\n\r\n6\r\nthree\n\r\n0\r\n\r\n", []string{"one\n", "three\n"}, errEnded},
		{"two in a chunk", "8\r\none\ntwo\n\r\n0\r\n\r\n", []string{"one\n", "two\n"}, errEnded},
		{"one over three chunks", "1\r\no\r\n2\r\nne\r\n5\r\n\ntwo\n\r\n0\r\n\r\n", []string{"one\n", "two\n"}, errEnded},
		{"none", "0\r\n\r\n", nil, errEnded},
		{"longer than the buffer", "15f91\r\n" + strings.Repeat("x", 90_000) + "\n\r\n0\r\n\r\n", []string{strings.Repeat("x", 90_000) + "\n"}, errEnded},
		{"cut in an event", "4\r\non", nil, io.ErrUnexpectedEOF},
		{"cut between events", "4\r\none\n\r\n", []string{"one\n"}, io.ErrUnexpectedEOF},
		{"a broken chunk", "3\r\none\n\r\n", nil, errChunk},
	}
	pieces := map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r },
		"halves":  iotest.HalfReader,
		"bytes":   iotest.OneByteReader,
	}
	for _, tt := range tests {
		for name, split := range pieces {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				r := &responses{from: split(strings.NewReader(head + tt.body)), buf: make([]byte, watcherBuffer)}
				if err := r.open(); err != nil {
					t.Fatal(err)
				}
				for i, want := range tt.events {
					if got, err := r.nextEvent(); string(got) != want || err != nil {
						t.Fatalf("event %d: got %.100q, %v, want %.100q", i, got, err, want)
					}
				}
				if _, err := r.nextEvent(); !errors.Is(err, tt.err) {
					t.Errorf("at the end: got %v, want %v", err, tt.err)
				}
			})
		}
	}
}

// TestEventsOneAfterTheOther reads several long polls from one connection.
func TestEventsOneAfterTheOther(t *testing.T) {
	const (
		head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		once = head + "4\r\none\n\r\n0\r\n\r\n"
		more = head + "8\r\none\ntwo\n\r\n3\r\nxxx\r\n0\r\n\r\n"
	)
	r := newResponses(iotest.OneByteReader(strings.NewReader(once + more + once + sized)))
	for range 3 {
		if err := r.open(); err != nil {
			t.Fatal(err)
		}
		if event, err := r.nextEvent(); string(event) != "one\n" || err != nil {
			t.Fatalf("got %q, %v", event, err)
		}
		if err := r.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.open(); !errors.Is(err, errNoEvents) {
		t.Errorf("an answer that is not a series of events: %v", err)
	}
}

func TestModifiedIndex(t *testing.T) {
	const event = `{"action":"set","node":{"key":"/a","value":"x","modifiedIndex":12,"createdIndex":12},"prevNode":{"key":"/a","modifiedIndex":7,"createdIndex":7}}`
	if got, err := modifiedIndex([]byte(event)); got != 12 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", `{"node":{}}`, `"modifiedIndex":`, `"modifiedIndex":x`} {
		if got, err := modifiedIndex([]byte(bad)); err == nil {
			t.Errorf("%q: got %d and no error", bad, got)
		}
	}
}
