package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startPeer stands where a member's peer port would be and says what list holds.
func startPeer(t *testing.T, list *atomic.Value) *backend {
	t.Helper()
	return startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/members" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, list.Load())
	})
}

// memberJSON is a member as the peer port shows it.
func memberJSON(peer, client string) string {
	clients := ""
	if client != "" {
		clients = `,"name":"m","clientURLs":["` + client + `"]`
	}
	return fmt.Sprintf(`{"id":10276657743932975437,"peerURLs":[%q]%s}`, peer, clients)
}

func (g *Gateway) has(clients ...string) func() bool {
	return func() bool {
		got := texts(g.line.candidates())
		slices.Sort(got)
		return slices.Equal(got, slices.Sorted(slices.Values(clients)))
	}
}

// TestFollow changes the members under a gateway that looks often.
func TestFollow(t *testing.T) {
	var list atomic.Value
	list.Store("[]")
	peer := startPeer(t, &list)
	file := filepath.Join(t.TempDir(), "new", "proxy", "cluster")
	g, _ := startGateway(t, Config{PeerURLs: []string{gone(t), peer.URL}, File: file, Refresh: 10 * time.Millisecond})

	asked := peer.asked.Load()
	for _, nothing := range []string{"[]", "nonsense", `{"a":1}`, "[" + memberJSON(peer.URL, "") + "]", `[{"clientURLs":["http://x:1"]}]`, "[" + memberJSON(peer.URL, "unix://x") + "]"} {
		list.Store(nothing)
		asked = peer.asked.Load()
		eventually(t, "a look at "+nothing, func() bool { return peer.asked.Load() > asked+1 })
		if !g.line.empty() {
			t.Fatalf("%s gave %v", nothing, texts(g.line.candidates()))
		}
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there before a member is: %v", err)
	}

	list.Store("[" + memberJSON(peer.URL, "http://a:1") + "," + memberJSON("http://other:1", "http://b:1/") + "," + memberJSON("http://third:1", "") + "]")
	eventually(t, "two members", g.has("http://a:1", "http://b:1"))
	list.Store("[" + memberJSON(peer.URL, "http://a:1") + "," + memberJSON("http://third:1", "http://c:1") + "]")
	eventually(t, "other two members", g.has("http://a:1", "http://c:1"))
	want := []string{peer.URL, "http://third:1"}
	eventually(t, "the file", func() bool {
		got, err := SavedPeers(file)
		return err == nil && slices.Equal(got, want)
	})
	if info, err := os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}

	// What is known stays when nobody tells any more.
	list.Store("nonsense")
	asked = peer.asked.Load()
	eventually(t, "a look", func() bool { return peer.asked.Load() > asked+1 })
	if !g.has("http://a:1", "http://c:1")() {
		t.Errorf("got %v", texts(g.line.candidates()))
	}
}

// TestLookSoon fails to reach a member that was replaced, long before it is
// time to look.
func TestLookSoon(t *testing.T) {
	var list atomic.Value
	old := gone(t)
	list.Store("[" + memberJSON("http://p:1", old) + "]")
	peer := startPeer(t, &list)
	list.Store("[" + memberJSON(peer.URL, old) + "]")
	member := startBackend(t, answer)
	g, base := startGateway(t, Config{PeerURLs: []string{peer.URL}, Refresh: time.Hour})
	eventually(t, "the old member", g.has(old))
	list.Store("[" + memberJSON(peer.URL, member.URL) + "]")
	if status, _ := send(t, newRequest(t, "GET", base+"/v2/keys/a", "")); status != http.StatusBadGateway {
		t.Errorf("got %d", status)
	}
	eventually(t, "the new member", g.has(member.URL))
}

// TestUnstarted looks again soon when a member had not started.
func TestUnstarted(t *testing.T) {
	var list atomic.Value
	list.Store("[]")
	peer := startPeer(t, &list)
	list.Store("[" + memberJSON(peer.URL, "http://a:1") + "," + memberJSON("http://q:1", "") + "]")
	g, _ := startGateway(t, Config{PeerURLs: []string{peer.URL}, Refresh: time.Hour})
	eventually(t, "the first member", g.has("http://a:1"))
	list.Store("[" + memberJSON(peer.URL, "http://a:1") + "," + memberJSON("http://q:1", "http://b:1") + "]")
	eventually(t, "both members", g.has("http://a:1", "http://b:1"))
}

func TestSavedPeers(t *testing.T) {
	dir := t.TempDir()
	if got, err := SavedPeers(filepath.Join(dir, "none")); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	file := filepath.Join(dir, "cluster")
	for content, want := range map[string]string{
		`{"PeerURLs":["http://a:1","http://b:1"]}`: "http://a:1,http://b:1", // as etcd writes it
		`{"PeerURLs":null}`:                        "",
		"":                                         "error",
		"{":                                        "error",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := SavedPeers(file)
		if want == "error" {
			if err == nil || !strings.Contains(err.Error(), "remove it") {
				t.Errorf("%q: %v", content, err)
			}
		} else if err != nil || strings.Join(got, ",") != want {
			t.Errorf("%q: %v, %v", content, got, err)
		}
	}
}

// TestHealth moves away from a member that answers and has lost the others.
func TestHealth(t *testing.T) {
	health := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				w.WriteHeader(status)
			}
		}
	}
	ill, dead, well := startBackend(t, health(503)), gone(t), startBackend(t, health(200))
	g, _ := startGateway(t, Config{}, ill.URL, dead, well.URL)
	g.checkHealth(t.Context())
	expectLine(t, g.line, parse(well.URL), parse(ill.URL), parse(dead))
	g.checkHealth(t.Context())
	if n := ill.asked.Load(); n != 1 {
		t.Errorf("a member that nothing is sent to was asked %d times", n)
	}
	setLine(g, well.URL)
	g.checkHealth(t.Context())
	if n := well.asked.Load(); n != 2 {
		t.Errorf("one that is alone was asked all the same")
	}

	setLine(g, dead, ill.URL)
	g.checkHealth(t.Context()) // nobody is better
	expectLine(t, g.line, parse(dead), parse(ill.URL))
}
