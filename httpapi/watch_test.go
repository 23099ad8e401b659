package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/witan-kv/witan/httpapi"
	"github.com/witan-kv/witan/store"
)

func set(m *member, key, value string) {
	m.apply(store.Command{Op: store.OpSet, Key: store.ParseKey(key), Value: value})
}

// openConn dials or fails the test.
func openConn(t *testing.T, address string) *conn {
	t.Helper()
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// The head is on the wire before anything has happened, letter by letter.
func TestWatchHeadIsFlushed(t *testing.T) {
	m := newMember(t)
	set(m, "/a", "1")
	c := openConn(t, serve(t, m, httpapi.Config{}))
	if _, err := io.WriteString(c, "GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var head []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
		if !strings.HasPrefix(line, "Date: ") {
			head = append(head, strings.TrimSuffix(line, "\r\n"))
		}
	}
	want := []string{
		"HTTP/1.1 200 OK",
		"Content-Type: application/json",
		"X-Etcd-Cluster-Id: df8194e3a8c32",
		"X-Etcd-Index: 4",
		"X-Raft-Index: 5",
		"X-Raft-Term: 2",
		"Transfer-Encoding: chunked",
	}
	if strings.Join(head, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(head, "\n"))
	}
	set(m, "/a", "2")
	event := `{"action":"set","node":{"key":"/a","value":"2","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}` + "\n"
	body := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event)
	got := make([]byte, len(body))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != body {
		t.Errorf("got %q, %v", got, err)
	}
	// The connection goes on.
	if resp, err := c.do("GET", "/version", "", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the next request: %v", err)
	}
}

// A client of HTTP/1.0 gets its event unchunked and the connection's end.
func TestWatchHTTP10(t *testing.T) {
	m := newMember(t)
	set(m, "/a", "1")
	c := openConn(t, serve(t, m, httpapi.Config{}))
	if _, err := io.WriteString(c, "GET /v2/keys/a?wait=true&waitIndex=1 HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c.r)
	if err != nil || !strings.HasSuffix(string(text), "\r\n\r\n{\"action\":\"set\",\"node\":{\"key\":\"/a\",\"value\":\"1\",\"modifiedIndex\":4,\"createdIndex\":4}}\n") {
		t.Errorf("got %q, %v", text, err)
	}
}

// A client that goes takes its watcher with it.
func TestWatchEndsWithClient(t *testing.T) {
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	for _, target := range []string{"/v2/keys/a?wait=true", "/v2/keys/a?wait=true&stream=true"} {
		c := openConn(t, address)
		if _, err := c.do("GET", target, "", nil); err != nil {
			t.Fatal(err)
		}
		if n := m.hub.Watchers(); n != 1 {
			t.Errorf("%s: %d watchers", target, n)
		}
		c.close()
		eventually(t, "the watcher is gone", func() bool { return m.hub.Watchers() == 0 })
	}
}

// A watch that reaches back too far is an error before the head, with the
// index of now.
func TestWatchHistoryCleared(t *testing.T) {
	m := newMember(t)
	for i := range 2004 { // indexes 4…2007, as in appendix A
		set(m, "/other", fmt.Sprint(i))
	}
	address := serve(t, m, httpapi.Config{})
	resp, body := request(t, address, "GET", "/v2/keys/x?wait=true&waitIndex=8", "")
	want := `{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [1008/8]","index":2007}` + "\n"
	if resp.StatusCode != http.StatusBadRequest || body != want || resp.Header.Get("X-Etcd-Index") != "2007" || resp.Header.Get("X-Raft-Index") != "" {
		t.Errorf("got %s %v\n%s", resp.Status, resp.Header, body)
	}
}

// overrun starts a stream and writes more than its queue and the buffers of
// the connection hold, without reading any of it. It returns the index of the
// last event.
func overrun(t *testing.T) (m *member, c *conn, resp *http.Response, last int) {
	t.Helper()
	m = newMember(t)
	c = openConn(t, serve(t, m, httpapi.Config{}))
	resp, err := c.do("GET", "/v2/keys/?wait=true&recursive=true&stream=true", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("x", 64<<10)
	for range 600 {
		set(m, "/a", value)
	}
	return m, c, resp, 3 + 600
}

// A slow reader that comes round gets everything, in order.
func TestSlowReaderGetsEverything(t *testing.T) {
	_, c, resp, last := overrun(t)
	body := bufio.NewReader(resp.Body)
	for index := 4; index <= last; index++ {
		_ = c.SetDeadline(time.Now().Add(patience)) // for each: reading the past is slow with the race detector
		line, err := body.ReadString('\n')
		if want := fmt.Sprintf(`"modifiedIndex":%d,`, index); err != nil || !strings.Contains(line, want) {
			t.Fatalf("event %d: %.50q…, %v", index, line, err)
		}
	}
}

// A reader that never reads costs a goroutine for as long as it may take over
// one event, and no longer.
func TestStuckReaderIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as a client may take over one event")
	}
	m, _, _, _ := overrun(t)
	stacks := make([]byte, 4<<20)
	streaming := func() bool {
		n := runtime.Stack(stacks, true)
		return bytes.Contains(stacks[:n], []byte(".writeSlowly("))
	}
	if !streaming() {
		t.Fatal("its goroutine is not to be seen")
	}
	eventually(t, "it is given up", func() bool { return m.hub.Watchers() == 0 && !streaming() })
}

// Long polls in numbers: each gets the one event, and all of them the same bytes.
func TestManyLongPolls(t *testing.T) {
	const clients = 200
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	bodies := make([]string, clients)
	var wg sync.WaitGroup
	for i := range clients {
		c := openConn(t, address)
		resp, err := c.do("GET", "/v2/keys/dir?wait=true&recursive=true", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			bodies[i] = string(text)
		})
	}
	set(m, "/dir/a", "1")
	set(m, "/dir/b", "2")
	wg.Wait()
	want := `{"action":"set","node":{"key":"/dir/a","value":"1","modifiedIndex":4,"createdIndex":4}}` + "\n"
	for i, got := range bodies {
		if got != want {
			t.Fatalf("client %d got %q", i, got)
		}
	}
}

// A client that always asks from the index after the event it got, while
// somebody writes, misses nothing and gets nothing twice.
func TestLongPollAfterLongPoll(t *testing.T) {
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	const writes = 300
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range writes {
			set(m, "/a", fmt.Sprint(i))
		}
	})
	c := openConn(t, address)
	next := uint64(4)
	for deadline := time.Now().Add(patience); next < 4+writes; {
		resp, err := c.do("GET", fmt.Sprintf("/v2/keys/a?wait=true&waitIndex=%d", next), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"value":"%d","modifiedIndex":%d,`, next-4, next); !strings.Contains(string(text), want) {
			t.Fatalf("from %d: got %s", next, text)
		}
		next++
		if time.Now().After(deadline) {
			t.Fatal("too slow")
		}
	}
}

// A waiting long poll costs some 4 KB with the client's side, which is here
// too: nothing of net/http and no large stack may stay with it.
func TestLongPollMemory(t *testing.T) {
	const clients, limit = 400, 6 << 10
	if raceDetector() {
		t.Skip("the race detector needs memory of its own")
	}
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	before := memoryInUse()
	for range clients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all wait", func() bool { return m.hub.Watchers() == clients })
	if each := (memoryInUse() - before) / clients; each > limit {
		t.Errorf("a waiting long poll takes %d bytes", each)
	}
}

func memoryInUse() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what was pooled goes at the second
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc + s.StackInuse)
}

func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
