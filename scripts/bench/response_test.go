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
