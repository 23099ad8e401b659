package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestUnchanged compares what a member gets with what the client has sent.
func TestUnchanged(t *testing.T) {
	var head, body string
	member, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Close() }()
	go func() {
		conn, err := member.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		b := make([]byte, len("value=x%zz"))
		_, _ = io.ReadFull(r, b)
		body = string(b)
		fmt.Fprint(conn, "HTTP/1.1 201 Created\r\nX-Etcd-Index: 7\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"+
			"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok")
	}()
	g, base := startGateway(t, Config{}, "http://"+member.Addr().String())

	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprint(conn, "PUT //v2/keys/a%2fb//c?x=1;ttl=5&y=%zz HTTP/1.1\r\nHost: some.name:99\r\nAuthorization: Basic abc\r\n"+
		"Via: 1.0 fred\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Etcd-Index: 5\r\nConnection: X-Mine, Upgrade, close\r\nX-Mine: 1\r\n"+
		"Upgrade: x\r\nKeep-Alive: 1\r\nProxy-Authorization: p\r\nTe: trailers\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"a\r\nvalue=x%zz\r\n0\r\n\r\n")
	var resp *http.Response
	for r := bufio.NewReader(conn); resp == nil || resp.StatusCode == http.StatusContinue; {
		if resp, err = http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = resp.Body.Close() }()
	got, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusCreated || string(got) != "ok" || resp.Header.Get("X-Etcd-Index") != "7" {
		t.Errorf("answer: %v %s", resp, got)
	}
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate"} {
		if resp.Header.Get(name) != "" {
			t.Errorf("the client got the header %s", name)
		}
	}
	want := "PUT //v2/keys/a%2fb//c?x=1;ttl=5&y=%zz HTTP/1.1\r\nHost: some.name:99\r\nContent-Length: 10\r\nAuthorization: Basic abc\r\n" +
		"Via: 1.0 fred\r\nVia: 1.1 " + g.name + "\r\nX-Etcd-Index: 5\r\nX-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n"
	if head != want || body != "value=x%zz" {
		t.Errorf("the member got\n%q\n%q, want\n%q", head, body, want)
	}
}

// TestBody sends what is as long as it may be, and longer.
func TestBody(t *testing.T) {
	member := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	_, base := startGateway(t, Config{}, member.URL)
	for _, tc := range []struct {
		size   int
		status int
		body   string
	}{
		{maxBodyBytes, 200, "10485760"},
		{maxBodyBytes + 1, 413, `{"message":"proxy: the body of the request is longer than 10485760 bytes"}`},
	} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, tc.size))
			if chunked {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/v2/keys/a", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Expect", "100-continue") // so that nobody is cut off while sending
			if status, got := send(t, req); status != tc.status || got != tc.body {
				t.Errorf("%d bytes, chunked %t: %d %s", tc.size, chunked, status, got)
			}
		}
	}
	if n := member.asked.Load(); n != 2 {
		t.Errorf("the member was asked %d times", n)
	}
}

// TestReadOnly lets nothing but GET pass.
func TestReadOnly(t *testing.T) {
	member := startBackend(t, answer)
	_, base := startGateway(t, Config{ReadOnly: true}, member.URL)
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		if status, body := send(t, newRequest(t, method, base+"/v2/keys/a", "")); status != 501 || body != "" {
			t.Errorf("%s: %d %q", method, status, body)
		}
	}
	if n := member.asked.Load(); n != 0 {
		t.Errorf("the member was asked %d times", n)
	}
	if status, body := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != 200 || body != "GET " {
		t.Errorf("GET: %d %q", status, body)
	}
}

// TestOwnPaths asks for what the gateway answers itself.
func TestOwnPaths(t *testing.T) {
	member := startBackend(t, answer)
	g, base := startGateway(t, Config{}, member.URL)
	endpoints := `{"endpoints":["` + member.URL + `"]}` + "\n"
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/v2/config/local/proxy", 200, endpoints},
		{"PUT", "/v2/config/local/proxy", 405, "Method Not Allowed\n"},
		{"GET", "/livez", 200, "ok\n"},
		{"GET", "/readyz", 200, "ok\n"},
		{"POST", "/readyz", 405, "Method Not Allowed\n"},
		{"GET", "/health", 200, "GET "},
		{"GET", "/v2/config/local/proxy/", 200, "GET "},
		{"OPTIONS", "/v2/keys/a", 200, "OPTIONS "},
	} {
		if status, body := send(t, newRequest(t, tc.method, base+tc.path, "")); status != tc.status || body != tc.body {
			t.Errorf("%s %s: %d %q", tc.method, tc.path, status, body)
		}
	}
	setLine(g)
	for path, want := range map[string]string{
		"/livez": "200 ok\n", "/readyz": "503 no member is known yet\n", "/v2/config/local/proxy": "200 {\"endpoints\":[]}\n",
	} {
		status, body := send(t, newRequest(t, "GET", base+path, ""))
		if got := fmt.Sprint(status, " ", body); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestLoop has a member that calls the gateway's address its own.
func TestLoop(t *testing.T) {
	g, base := startGateway(t, Config{})
	setLine(g, base)
	if status, body := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != 508 || !strings.Contains(body, "--advertise-client-urls") {
		t.Errorf("%d %s", status, body)
	}
}

// TestCORS has members and a gateway that disagree about who may read.
func TestCORS(t *testing.T) {
	member := startBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		allowOrigin(w.Header(), []string{"*"}, "")
	})
	for _, tc := range []struct {
		cors         []string
		origin, want string
	}{
		{nil, "http://a", "*"},
		{[]string{"http://a"}, "http://a", "http://a"},
		{[]string{"http://a"}, "http://b", ""},
		{[]string{"*"}, "http://b", "*"},
	} {
		_, base := startGateway(t, Config{CORS: tc.cors}, member.URL)
		for _, method := range []string{"GET", "OPTIONS"} {
			req := newRequest(t, method, base+"/v2/keys/a", "")
			req.Header.Set("Origin", tc.origin)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := strings.Join(resp.Header["Access-Control-Allow-Origin"], "+"); resp.StatusCode != http.StatusOK || got != tc.want {
				t.Errorf("%v, %s of %s: %d %q", tc.cors, method, tc.origin, resp.StatusCode, got)
			}
		}
	}
}
