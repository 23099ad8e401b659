package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestProgram runs a member in this process, as main does.
func TestProgram(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := testConfig(t)
	p, err := open(ctx, c, newLogger(zerolog.NewTestWriter(t), "warn"))
	if err != nil {
		t.Fatal(err)
	}
	p.announce()
	base := "http://" + p.clients[0].Addr().String()
	if code, body := put(t, base, "/a", "1"); code != http.StatusCreated {
		t.Errorf("PUT: %d %s", code, body)
	}
	if code, body := get(t, "http://"+p.clients[1].Addr().String()+"/v2/keys/a"); code != http.StatusOK {
		t.Errorf("GET on the second URL: %d %s", code, body)
	}
	cancel()
	if err := p.wait(ctx); err != nil {
		t.Errorf("wait: %v", err)
	}
	if err := p.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, leaks)
}

// TestStopWhileStarting ends a member that waits for one that never comes.
func TestStopWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	peer := freeURL(t)
	args := []string{
		"--name", "a", "--data-dir", t.TempDir(),
		"--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "a=" + peer + ",b=" + freeURL(t),
	}
	var log bytes.Buffer
	status := make(chan int, 1)
	go func() { status <- run(ctx, args, nil, io.Discard, zerolog.SyncWriter(&log)) }()
	waitForListener(t, peer)
	cancel()
	select {
	case got := <-status:
		if got != exitOK {
			t.Errorf("status %d, log:\n%s", got, log.String())
		}
	case <-time.After(patience):
		t.Fatal("the member does not stop")
	}
}

// waitForListener returns when somebody listens at the URL.
func waitForListener(t *testing.T, u string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address(u)); err == nil {
			_ = conn.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s", u)
}

// testConfig is a valid configuration of a lone member on free ports.
func testConfig(t *testing.T) config {
	t.Helper()
	c, _, err := parseConfig([]string{
		"--data-dir", t.TempDir(), "--listen-peer-urls", "http://127.0.0.1:0",
		"--listen-client-urls", "http://127.0.0.1:0,http://localhost:0", "--advertise-client-urls", "http://127.0.0.1:2379",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.validate(), c.validateStart()); err != nil {
		t.Fatal(err)
	}
	return c
}
