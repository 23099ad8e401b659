package main

import (
	"bufio"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestEncode(t *testing.T) {
	for _, tc := range []struct {
		name string
		req  request
		want string
	}{
		{"odd path", request{method: "GET", target: "/v2/keys//a%2F..?x;y"}, "GET /v2/keys//a%2F..?x;y HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"form", request{method: "PUT", target: "/a", body: "value=1"}, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1"},
		{"empty PUT", request{method: "PUT", target: "/a"}, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
		{"no type", request{method: "PUT", target: "/a", header: []string{"Content-Type:"}, body: "x"}, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"},
		{"other type", request{method: "PUT", target: "/a", header: []string{"content-type: text/plain"}, body: "x"}, "PUT /a HTTP/1.1\r\nHost: h\r\ncontent-type: text/plain\r\nContent-Length: 1\r\n\r\nx"},
		{"chunked", request{method: "PUT", target: "/a", header: []string{"Transfer-Encoding: chunked", "Content-Type:"}, body: "0123456789abcdef"}, "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"},
		{"own host", request{method: "GET", target: "/a", header: []string{"Host: x"}}, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		if got := string(tc.req.encode("h")); got != tc.want {
			t.Errorf("%s:\n%q\n%q", tc.name, got, tc.want)
		}
	}
}

func TestParameter(t *testing.T) {
	r := request{method: "PUT", target: "/v2/keys/a?ttl=1&prevIndex=2&wait=1", body: "ttl=5&value=x"}
	for name, want := range map[string]string{"ttl": "5", "prevIndex": "2", "value": "x", "none": ""} {
		if got := r.parameter(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	r.method = "DELETE"
	if got := r.parameter("ttl"); got != "1" {
		t.Errorf("a DELETE's body counts for nothing, but ttl is %q", got)
	}
}

func TestKeyOf(t *testing.T) {
	for target, want := range map[string]string{
		"/v2/keys": "/", "/v2/keys/": "/", "/v2/keys/a/b/?x": "/a/b", "/v2/keys/a%2Fb": "/a/b", "/v2/keys/../x": "/x",
		"http://host/v2/keys/a": "/a", "/v2/keysfoo": "", "/v2/members": "", "/v2/keys/%zz": "",
	} {
		got, ok := keyOf(request{target: target})
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q %t", target, got, ok)
		}
	}
}

// One connection is kept for many requests, and dialled again when the server
// closed it.
func TestConnKeepsAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted++
			serveTwo(c)
		}
	}()
	c := conn{addr: l.Addr().String()}
	for i, want := range []bool{false, true, false, true} {
		if err := c.send(request{method: "GET", target: "/"}, time.Second); err != nil {
			t.Fatal(err)
		}
		if a := c.receive("GET"); a.err != nil || string(a.body) != "ok" || a.closes != want {
			t.Fatalf("%d: %+v", i, a)
		}
	}
	c.close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if accepted != 2 {
		t.Errorf("%d connections for 4 requests, want 2", accepted)
	}
}

// serveTwo answers two requests, an interim 100 first, and closes.
func serveTwo(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for _, last := range []string{"", "Connection: close\r\n"} {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		if _, err := c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + last + "\r\nok")); err != nil {
			return
		}
	}
}
