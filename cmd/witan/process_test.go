package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before a test gives up.
const patience = 60 * time.Second

// process is a witan that runs as a process of its own.
type process struct {
	cmd   *exec.Cmd
	url   string        // of its client port, set by await
	ready chan string   // its client ports, as it opens them
	done  chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// startProcess starts a member with its data in dir and returns when it is
// ready to serve.
func startProcess(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := launch(t, dir, flags...)
	p.await(t)
	return p
}

// launch starts a member that may have to wait for others before it is ready.
func launch(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	p := &process{ready: make(chan string, 8), done: make(chan struct{})}
	p.cmd = exec.Command("witan", append([]string{
		"--data-dir", dir,
		"--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:0",
	}, flags...)...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stderr)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended long ago
		<-p.done
		if t.Failed() {
			t.Logf("log of witan:\n%s", p.logged())
		}
	})
	return p
}

// await returns when the member is ready to serve.
func (p *process) await(t *testing.T) {
	t.Helper()
	select {
	case p.url = <-p.ready:
	case <-p.done:
		t.Fatalf("witan ended: %v", p.cmd.ProcessState)
	case <-time.After(patience):
		t.Fatal("witan is not ready")
	}
}

// read keeps the log and sends the URL of every "ready" line.
func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		var line struct{ Message string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // a runtime's dying words are not JSON
		}
		if u, ok := strings.CutPrefix(line.Message, "ready to serve client requests on "); ok {
			p.ready <- u
		}
	}
	_ = p.cmd.Wait() // the tests look at ProcessState
	close(p.done)
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// stop sends a signal and waits for the end.
func (p *process) stop(t *testing.T, s syscall.Signal) syscall.WaitStatus {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("witan still runs after %v", s)
	}
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// put writes a key and returns the status and the body.
func put(t *testing.T, base, key, value string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/v2/keys"+key,
		strings.NewReader(url.Values{"value": {value}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, req)
}

func get(t *testing.T, u string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestReadyLines looks for what other projects' suites wait for (contract §5.9).
func TestReadyLines(t *testing.T) {
	p := startProcess(t, t.TempDir(), "--name", "infra1")
	for _, line := range []string{
		"etcdserver: published {Name:infra1 ClientURLs:[http://127.0.0.1:2379]} to cluster ",
		"etcdserver: set the initial cluster version to 2.3",
		"enabled capabilities for version 2.3",
		"ready to serve client requests",
	} {
		if !strings.Contains(p.logged(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}
}

// TestSignalEndsInOrder expects a clean stop that the parent sees as death by
// the signal, and the data to be there at the next start.
func TestSignalEndsInOrder(t *testing.T) {
	dir := t.TempDir()
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startProcess(t, dir, "--initial-cluster-state", []string{"new", "existing"}[i])
		if i > 0 {
			if code, body := get(t, p.url+"/v2/keys/kept"); code != http.StatusOK || !strings.Contains(body, `"value":"yes"`) {
				t.Errorf("after the restart: %d %s", code, body)
			}
		}
		if code, body := put(t, p.url, "/kept", "yes"); code/100 != 2 {
			t.Fatalf("PUT: %d %s", code, body)
		}
		status := p.stop(t, s)
		if !status.Signaled() || status.Signal() != s {
			t.Errorf("%v: ended with %v", s, p.cmd.ProcessState)
		}
		if !strings.Contains(p.logged(), "witan has stopped") {
			t.Errorf("%v: the member was not closed in order", s)
		}
	}
}

// TestPortInUse starts a member where another one listens.
func TestPortInUse(t *testing.T) {
	p := startProcess(t, t.TempDir())
	out, err := exec.Command("witan", "--data-dir", t.TempDir(), "--listen-peer-urls", "http://127.0.0.1:0",
		"--listen-client-urls", p.url, "--advertise-client-urls", p.url).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("got %v", err)
	}
	if want := "--listen-client-urls: " + p.url + ": "; !bytes.Contains(out, []byte(want)) {
		t.Errorf("the address is not named:\n%s", out)
	}
}
