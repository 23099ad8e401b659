package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// threeMembers starts a cluster of three and returns its members, their flags
// and data directories, and the value of --initial-cluster.
func threeMembers(t *testing.T) (members []*process, flags [][]string, dirs []string, initial string) {
	t.Helper()
	var all []string
	for _, name := range []string{"a", "b", "c"} {
		f := append(peerFlags(t, name), clientFlags(t)...)
		all = append(all, name+"="+f[3])
		flags, dirs = append(flags, f), append(dirs, t.TempDir())
	}
	initial = strings.Join(all, ",")
	for i := range flags {
		flags[i] = append(flags[i], "--initial-cluster", initial)
		members = append(members, launch(t, dirs[i], flags[i]...))
	}
	ready(t, members)
	return members, flags, dirs, initial
}

// endpointsOf returns the members a gateway sends requests to, the first first.
func endpointsOf(t *testing.T, gateway string) []string {
	t.Helper()
	var answer struct{ Endpoints []string }
	_, body := get(t, gateway+"/v2/config/local/proxy")
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return answer.Endpoints
}

// memberAt returns the member with this client URL.
func memberAt(t *testing.T, flags [][]string, u string) int {
	t.Helper()
	i := slices.IndexFunc(flags, func(f []string) bool { return slices.Contains(f, u) })
	if i < 0 {
		t.Fatalf("no member is at %s", u)
	}
	return i
}

// writer counts a key up through a gateway, one write after the other, and
// keeps what was acknowledged.
type writer struct {
	acked    atomic.Int64    // the last write that was
	all      []int64         // all that were; of run's goroutine until it has ended
	troubles map[string]bool // answers to the others; likewise
}

// run writes until stop. An answer that is not one of those documented for a
// cluster in trouble is an error.
func (w *writer) run(t *testing.T, base string, stop <-chan struct{}) {
	w.troubles = map[string]bool{}
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		status, body := put(t, base, "/load/count", strconv.Itoa(n))
		var e struct {
			ErrorCode int
			Message   string
		}
		_ = json.Unmarshal([]byte(body), &e) // what is no JSON is no documented answer either
		switch {
		case status == http.StatusOK || status == http.StatusCreated:
			w.acked.Store(int64(n))
			w.all = append(w.all, int64(n))
		case status == http.StatusInternalServerError && e.ErrorCode == 300,
			status == http.StatusBadGateway && strings.HasPrefix(e.Message, "proxy: "):
			w.troubles[fmt.Sprint(status, " ", e.ErrorCode, " ", e.Message)] = true
		default:
			t.Errorf("write %d: %d %s", n, status, body)
			return
		}
	}
}

// follow watches the writer's key by long polls through a gateway and hands
// over every value, until the one that is last.
func follow(t *testing.T, base string, seen func(int64)) {
	for index := uint64(1); ; {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			fmt.Sprintf("%s/v2/keys/load?wait=true&recursive=true&waitIndex=%d", base, index), nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("watch from %d: %v", index, err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || err != nil {
			t.Errorf("watch from %d: %s %s %v", index, resp.Status, body, err)
			return
		}
		if len(body) == 0 {
			continue // its member is gone: ask again
		}
		var event struct {
			Node struct {
				Value         string
				ModifiedIndex uint64
			}
		}
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("watch from %d: %s: %v", index, body, err)
			return
		}
		if event.Node.Value == "last" {
			return
		}
		n, _ := strconv.ParseInt(event.Node.Value, 10, 64)
		seen(n)
		index = event.Node.ModifiedIndex + 1
	}
}

// TestGatewayUnderLoad kills each member while the gateway uses it, under
// writes and watches: nobody sees more than documented errors, and no event is
// missed or seen twice.
func TestGatewayUnderLoad(t *testing.T) {
	members, flags, dirs, initial := threeMembers(t)
	g := startProcess(t, t.TempDir(), "--proxy", "on", "--initial-cluster", initial, "--proxy-refresh-interval", "500", "--proxy-failure-wait", "500")
	eventually(t, "the gateway knows all members", func() bool { return len(endpointsOf(t, g.url)) == 3 })
	if !strings.Contains(g.logged(), "proxy: endpoints found [") {
		t.Error("the log does not say that endpoints were found")
	}

	var w writer
	var values []int64 // of follow's goroutine until it has ended
	stop, written, followed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(written); w.run(t, g.url, stop) }()
	go func() { defer close(followed); follow(t, g.url, func(n int64) { values = append(values, n) }) }()
	progress := func(what string) {
		t.Helper()
		from := w.acked.Load()
		eventually(t, "writes "+what, func() bool { return w.acked.Load() > from+20 })
	}
	progress("in peace")
	for range 3 {
		i := memberAt(t, flags, endpointsOf(t, g.url)[0])
		members[i].stop(t, syscall.SIGKILL)
		progress("without " + flags[i][1])
		members[i] = startProcess(t, dirs[i], flags[i]...)
		progress("with " + flags[i][1] + " again")
	}
	close(stop)
	<-written
	eventually(t, "the last write", func() bool { code, _ := put(t, g.url, "/load/last", "last"); return code/100 == 2 })
	<-followed
	if !slices.IsSorted(values) || len(slices.Compact(slices.Clone(values))) != len(values) {
		t.Error("events came twice or out of order")
	}
	for _, n := range w.all {
		if _, ok := slices.BinarySearch(values, n); !ok {
			t.Errorf("write %d was acknowledged and not seen", n)
		}
	}
	_, body := get(t, g.url+"/v2/keys/load/count?quorum=true")
	if last := strconv.FormatInt(values[len(values)-1], 10); !strings.Contains(body, `"value":"`+last+`"`) {
		t.Errorf("the last event was %s, the key says %s", last, body)
	}
	for answer := range w.troubles {
		t.Logf("a write got: %s", answer)
	}
	t.Logf("%d writes acknowledged, %d events", len(w.all), len(values))
}

// TestGatewayFollows replaces the only member of a cluster by another, through
// the gateway, and starts the gateway again with what it has remembered.
func TestGatewayFollows(t *testing.T) {
	first := append(peerFlags(t, "a"), clientFlags(t)...)
	a := startProcess(t, t.TempDir(), first...)
	dir := t.TempDir()
	g := startProcess(t, dir, "--proxy", "on", "--initial-cluster", "a="+first[3], "--proxy-refresh-interval", "200")
	eventually(t, "the gateway knows a", func() bool { return slices.Equal(endpointsOf(t, g.url), []string{a.url}) })

	second := append(peerFlags(t, "b"), clientFlags(t)...)
	if code, body := post(t, g.url+"/v2/members", `{"peerURLs":["`+second[3]+`"]}`); code != http.StatusCreated {
		t.Fatalf("POST: %d %s", code, body)
	}
	b := startProcess(t, t.TempDir(), append(second, "--initial-cluster", "a="+first[3]+",b="+second[3], "--initial-cluster-state", "existing")...)
	eventually(t, "the gateway knows both", func() bool { return len(endpointsOf(t, g.url)) == 2 })

	var id string
	eventually(t, "a is removed", func() bool {
		id = idOf(t, g.url, "a")
		code, _ := send(t, http.MethodDelete, g.url+"/v2/members/"+id)
		return code == http.StatusNoContent || code == http.StatusGone
	})
	<-a.done
	if got := a.cmd.ProcessState.ExitCode(); got != exitOK {
		t.Errorf("a ended with %d", got)
	}
	eventually(t, "the gateway knows b alone", func() bool { return slices.Equal(endpointsOf(t, g.url), []string{b.url}) })
	eventually(t, "b answers", func() bool { code, _ := put(t, g.url, "/k", "v"); return code/100 == 2 })

	if status := g.stop(t, syscall.SIGTERM); status.Signal() != syscall.SIGTERM || !strings.Contains(g.logged(), "witan has stopped") {
		t.Errorf("the gateway ended with %v", g.cmd.ProcessState)
	}
	again := startProcess(t, dir, "--proxy", "off") // the directory is a gateway's
	eventually(t, "the gateway is back", func() bool {
		body, ok := tryGet(t, again.url+"/v2/keys/k")
		return ok && strings.Contains(body, `"value":"v"`)
	})
	if log := again.logged(); !strings.Contains(log, "belongs to a gateway") || !strings.Contains(log, filepath.Join(dir, "proxy", "cluster")) {
		t.Error("the log does not say why it is a gateway and of whom")
	}
}

func post(t *testing.T, u, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return do(t, req)
}

func send(t *testing.T, method, u string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func idOf(t *testing.T, base, name string) string {
	t.Helper()
	var list struct{ Members []struct{ ID, Name string } }
	_, body := get(t, base+"/v2/members")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, m := range list.Members {
		if m.Name == name {
			return m.ID
		}
	}
	t.Fatalf("%s is not among %s", name, body)
	return ""
}

// TestReadOnlyGateway has a gateway that lets nobody write.
func TestReadOnlyGateway(t *testing.T) {
	f := append(peerFlags(t, "a"), clientFlags(t)...)
	a := startProcess(t, t.TempDir(), f...)
	g := startProcess(t, t.TempDir(), "--proxy", "readonly", "--initial-cluster", "a="+f[3])
	put(t, a.url, "/k", "v")
	eventually(t, "the gateway reads", func() bool {
		body, ok := tryGet(t, g.url+"/v2/keys/k")
		return ok && strings.Contains(body, `"value":"v"`)
	})
	if code, body := put(t, g.url, "/k", "w"); code != http.StatusNotImplemented || body != "" {
		t.Errorf("PUT: %d %s", code, body)
	}
}

// TestGatewayTellsSystemd waits for the line that a service manager waits for,
// with no member there, and stops before one comes.
func TestGatewayTellsSystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", socket)
	g := startProcess(t, t.TempDir(), "--proxy", "on", "--initial-cluster", "a="+freeURL(t))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		n, err := conn.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Errorf("systemd got %q, %v, want %s", b[:n], err, want)
		}
		if want != "READY=1" {
			break
		}
		if code, body := get(t, g.url+"/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d %s", code, body)
		}
		g.stop(t, syscall.SIGTERM)
	}
}

// TestGatewayMistakes starts gateways that cannot be.
func TestGatewayMistakes(t *testing.T) {
	busy := startProcess(t, t.TempDir())
	broken := t.TempDir()
	touch(t, filepath.Join(broken, "proxy", "cluster"))
	for flags, want := range map[string]string{
		"--initial-cluster a=https://h:1":  "https needs certificates",
		"--initial-cluster a=h:1":          "--initial-cluster: ",
		"--listen-client-urls " + busy.url: "--listen-client-urls: " + busy.url,
		"--data-dir " + broken:             "is not a list of peer URLs",
		"--discovery http://127.0.0.1:1/v2/keys/x --initial-cluster a=http://h:1": "exclude each other",
	} {
		args := append([]string{"--proxy", "on", "--data-dir", t.TempDir(), "--listen-client-urls", "http://127.0.0.1:0"}, strings.Fields(flags)...)
		out, err := exec.Command("witan", args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", flags, err, out)
		}
	}
}

// TestPagesThroughGateway runs the examples of README.md and of the page about
// gateways against one.
func TestPagesThroughGateway(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("curl is not installed")
	}
	f := append(peerFlags(t, "default"), clientFlags(t)...)
	a := startProcess(t, t.TempDir(), f...)
	g := startProcess(t, t.TempDir(), "--proxy", "on", "--initial-cluster", "default="+f[3])
	eventually(t, "the gateway is ready", func() bool { _, ok := tryGet(t, g.url+"/readyz"); return ok })
	const shownClient, shownPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	shown := strings.NewReplacer(a.url, shownClient, f[3], shownPeer)
	for _, page := range []string{"../../README.md", "../../docs/gateway.md"} {
		all := examples(t, page)
		if len(all) < 3 {
			t.Fatalf("found only %d examples in %s", len(all), page)
		}
		for _, e := range all {
			command := strings.ReplaceAll(e.command, shownClient, g.url)
			out, err := exec.CommandContext(t.Context(), "sh", "-c", command+" --silent --show-error --max-time 30").Output()
			if err != nil {
				t.Fatalf("%s: %v", e.command, err)
			}
			if got := strings.TrimRight(shown.Replace(string(out)), "\n"); !matches(e.want, got) {
				t.Errorf("%s\n got %s\nwant %s", e.command, got, e.want)
			}
		}
	}
}
