package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// product is one of the two servers under comparison.
type product struct {
	name    string
	binary  string
	flags   []string // beside the ones every member needs
	members int      // of a cluster; 0 = 1
}

func etcdProduct(binary string) product {
	return product{name: "etcd", binary: binary, flags: []string{"--enable-v2=true"}}
}

func witanProduct(binary string, groups int) product {
	return product{name: "witan", binary: binary, flags: []string{
		"--groups", strconv.Itoa(groups), "--event-history", "1000",
	}}
}

// server is a running, fresh cluster on loopback, seen through the member that
// leads it: what that has answered, the leader has done.
type server struct {
	product
	addr   string // of the client listener, host:port
	self   identity
	others []*server // the other members, nil but for the one that leads
	cmd    *exec.Cmd
	dir    string
	done   chan struct{} // closed when the process has ended; err is then set
	err    error
}

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
)

// start runs a cluster of p and waits until all its members accept writes and
// its index is at rest. The members end with ctx; stop waits for that and
// removes their data.
func start(ctx context.Context, p product) (*server, error) {
	first, err := prepare(p, 1)
	if err != nil {
		return nil, err
	}
	for n := 2; n <= p.members; n++ {
		other, err := prepare(p, n)
		if err != nil {
			return nil, errors.Join(err, first.stop())
		}
		first.others = append(first.others, other)
	}
	all := append([]*server{first}, first.others...)
	var cluster []string
	for _, s := range all {
		cluster = append(cluster, s.self.name+"="+s.self.peer)
	}
	for _, s := range all {
		if err := s.run(ctx, strings.Join(cluster, ",")); err != nil {
			return nil, errors.Join(err, first.stop())
		}
	}
	for _, s := range all {
		if err := s.ready(ctx, all); err != nil {
			err = fmt.Errorf("%s did not get ready: %w\n%s", p.name, err, s.tail())
			return nil, errors.Join(err, first.stop())
		}
	}
	leader, err := first.findLeader()
	if err != nil {
		return nil, errors.Join(err, first.stop())
	}
	return leader, nil
}

// findLeader returns the member that leads, with all the others in its care.
func (s *server) findLeader() (*server, error) {
	var leader struct{ Name string }
	if err := s.ask("/v2/members/leader", &leader); err != nil {
		return nil, err
	}
	for i, o := range s.others {
		if o.self.name == leader.Name {
			s.others[i], s.others, o.others = s, nil, s.others
			return o, nil
		}
	}
	return s, nil
}

// prepare finds addresses and a directory for the n-th member of a cluster.
func prepare(p product, n int) (*server, error) {
	client, err := freeAddress()
	if err != nil {
		return nil, err
	}
	peer, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "conformance-"+p.name+"-")
	if err != nil {
		return nil, err
	}
	return &server{
		product: p, addr: client, dir: dir,
		self: identity{name: "m" + strconv.Itoa(n), client: "http://" + client, peer: "http://" + peer},
	}, nil
}

func (s *server) run(ctx context.Context, cluster string) error {
	args := append([]string{
		"--name", s.self.name,
		"--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.self.client,
		"--advertise-client-urls", s.self.client,
		"--listen-peer-urls", s.self.peer,
		"--initial-advertise-peer-urls", s.self.peer,
		"--initial-cluster", cluster,
	}, s.flags...)
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return nil
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

// Ports below those that the kernel gives to outgoing connections, so that
// none of these takes one between freeAddress and the server's start.
const lowestPort, highestPort = 20000, 32000

// freeAddress returns a loopback address nobody listens on just now.
func freeAddress() (string, error) {
	for {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort)))
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return address, l.Close()
	}
}

// ready polls until the cluster version is settled, which is the last thing a
// fresh member writes by itself, and a quorum read is answered.
func (s *server) ready(ctx context.Context, all []*server) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.probe(all)
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

func (s *server) probe(all []*server) error {
	var version struct{ Etcdcluster string }
	if err := s.ask("/version", &version); err != nil {
		return err
	}
	if version.Etcdcluster == "not_decided" {
		return errors.New("the cluster version is not decided yet")
	}
	var list struct{ Members []struct{ ID, Name string } }
	if err := s.ask("/v2/members", &list); err != nil {
		return err
	}
	started := 0
	for _, m := range list.Members {
		if m.Name != "" {
			started++
		}
		if m.Name == s.self.name {
			s.self.member = m.ID
		}
	}
	if started != len(all) {
		return fmt.Errorf("%d members have started, expected %d", started, len(all))
	}
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

// stop ends the processes, by force if they do not go by themselves, waits for
// them and removes their data.
func (s *server) stop() error {
	var errs []error
	for _, m := range append(s.others, s) {
		if m.cmd != nil {
			_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		}
	}
	for _, m := range append(s.others, s) {
		m.end()
		errs = append(errs, os.RemoveAll(m.dir))
	}
	return errors.Join(errs...)
}

// end waits for the end of one process that was told to stop.
func (s *server) end() {
	if s.cmd == nil {
		return
	}
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// identities lists what differs between clusters by nature, the first member's first.
func (s *server) identities() []identity {
	all := []identity{s.self}
	for _, o := range s.others {
		all = append(all, o.self)
	}
	return all
}
