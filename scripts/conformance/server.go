package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// product is one of the two servers under comparison.
type product struct {
	name   string
	binary string
	flags  []string // beside the ones every member needs
}

func etcdProduct(binary string) product {
	return product{name: "etcd", binary: binary, flags: []string{"--enable-v2=true"}}
}

func witanProduct(binary string, groups int) product {
	return product{name: "witan", binary: binary, flags: []string{
		"--groups", strconv.Itoa(groups), "--event-history", "1000",
	}}
}

// server is a running, fresh, single-member cluster on loopback.
type server struct {
	product
	addr string // of the client listener, host:port
	self identity
	cmd  *exec.Cmd
	dir  string
	done chan struct{} // closed when the process has ended; err is then set
	err  error
}

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
)

// start runs p and waits until it accepts writes and its index is at rest. The
// server ends with ctx; stop waits for that and removes its data.
func start(ctx context.Context, p product) (*server, error) {
	client, peer, err := freePorts()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "conformance-"+p.name+"-")
	if err != nil {
		return nil, err
	}
	s := &server{product: p, addr: client, dir: dir, done: make(chan struct{})}
	s.self.client, s.self.peer = "http://"+client, "http://"+peer
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.ready(ctx); err != nil {
		err = fmt.Errorf("%s did not get ready: %w\n%s", p.name, err, s.tail())
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) run(ctx context.Context) error {
	args := append([]string{
		"--name", "m1",
		"--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.self.client,
		"--advertise-client-urls", s.self.client,
		"--listen-peer-urls", s.self.peer,
		"--initial-advertise-peer-urls", s.self.peer,
		"--initial-cluster", "m1=" + s.self.peer,
	}, s.flags...)
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.CommandContext(ctx, s.binary, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopTimeout
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	return nil
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

// freePorts reserves two loopback addresses and lets them go again.
func freePorts() (client, peer string, err error) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer a.Close()
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer b.Close()
	return a.Addr().String(), b.Addr().String(), nil
}

// ready polls until the cluster version is settled, which is the last thing a
// fresh member writes by itself, and a quorum read is answered.
func (s *server) ready(ctx context.Context) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.probe()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return fmt.Errorf("it ended: %w", s.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *server) probe() error {
	var version struct{ Etcdcluster string }
	if err := s.ask("/version", &version); err != nil {
		return err
	}
	if version.Etcdcluster == "not_decided" {
		return errors.New("the cluster version is not decided yet")
	}
	var members struct{ Members []struct{ ID string } }
	if err := s.ask("/v2/members", &members); err != nil {
		return err
	}
	if len(members.Members) != 1 {
		return fmt.Errorf("%d members, expected 1", len(members.Members))
	}
	s.self.member = members.Members[0].ID
	var root json.RawMessage
	return s.ask("/v2/keys/?quorum=true", &root)
}

func (s *server) ask(target string, into any) error {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(s.self.client + target)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", target, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// tail returns the end of what the server logged.
func (s *server) tail() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// stop ends the process, by force if it does not go by itself, waits for it
// and removes its data.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return os.RemoveAll(s.dir)
}
