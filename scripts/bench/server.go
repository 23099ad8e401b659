package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The names of what is measured.
const (
	etcdName  = "etcd"
	witanName = "witan"
	otherName = "other" // another witan
	floorName = "floor"
)

// product is one of the servers under comparison.
type product struct {
	name   string
	binary string
}

// productsOf returns what o asks for, in the order of their turns.
func productsOf(o options) ([]product, error) {
	var list []product
	for _, name := range o.servers {
		p := product{name: name}
		var err error
		switch name {
		case etcdName:
			p.binary, err = exec.LookPath(o.etcd)
		case witanName:
			p.binary, err = exec.LookPath(o.witan)
			if err != nil {
				err = fmt.Errorf("%w (make build makes it; --binary names another)", err)
			}
		case otherName:
			p.binary, err = exec.LookPath(o.against)
		case floorName:
			p.binary, err = os.Executable()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// flags are those that p needs beside the ones every member has.
func (p product) flags(s setUp) []string {
	if p.name == etcdName {
		return []string{"--enable-v2=true"}
	}
	return []string{"--groups", strconv.Itoa(s.Groups)}
}

// member is one server process.
type member struct {
	name, client, peer string // the two are addresses, host:port
	dir                string
	cmd                *exec.Cmd
	done               chan struct{} // closed when the process has ended; err is then set
	err                error
}

// cluster is the running members of one product.
type cluster struct {
	product product
	setUp   setUp
	members []*member
	dir     string
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// newCluster lays out a cluster with its data below dir. Nothing runs yet.
func newCluster(p product, s setUp, dir string) (*cluster, error) {
	members := s.Members
	if p.name == floorName {
		members = 1
	}
	dir, err := os.MkdirTemp(dir, p.name+"-")
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(2 * members)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := &cluster{product: p, setUp: s, dir: dir}
	for i := range members {
		name := fmt.Sprintf("m%d", i+1)
		c.members = append(c.members, &member{
			name: name, client: addrs[2*i], peer: addrs[2*i+1], dir: filepath.Join(dir, name),
		})
	}
	return c, nil
}

// startReady starts a fresh cluster and waits until it serves.
func startReady(ctx context.Context, p product, s setUp, dir string) (*cluster, error) {
	c, err := newCluster(p, s, dir)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	for _, m := range c.members {
		if _, err := c.firstAnswer(ctx, m, quorumRead()); err != nil {
			return nil, errors.Join(err, c.remove())
		}
	}
	return c, nil
}

// start starts all members, which end with ctx at the latest.
func (c *cluster) start(ctx context.Context) error {
	for _, m := range c.members {
		if err := m.start(ctx, c.product.binary, c.arguments(m)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) arguments(m *member) []string {
	if c.product.name == floorName {
		return []string{floorCommand, "--listen", m.client}
	}
	var initial []string
	for _, other := range c.members {
		initial = append(initial, other.name+"=http://"+other.peer)
	}
	return append([]string{
		"--name", m.name,
		"--data-dir", m.dir,
		"--listen-client-urls", "http://" + m.client,
		"--advertise-client-urls", "http://" + m.client,
		"--listen-peer-urls", "http://" + m.peer,
		"--initial-advertise-peer-urls", "http://" + m.peer,
		"--initial-cluster", strings.Join(initial, ","),
	}, c.product.flags(c.setUp)...)
}

func (m *member) start(ctx context.Context, binary string, args []string) error {
	log, err := os.Create(m.dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = cleanEnvironment(os.Environ())
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd, m.done = cmd, make(chan struct{})
	go func() {
		m.err = cmd.Wait()
		close(m.done)
	}()
	return nil
}

// cleanEnvironment drops what would change how a server behaves.
func cleanEnvironment(env []string) []string {
	var clean []string
	for _, v := range env {
		if !strings.HasPrefix(v, "ETCD_") && !strings.HasPrefix(v, "WITAN_") {
			clean = append(clean, v)
		}
	}
	return clean
}

// addrs returns where clients connect.
func (c *cluster) addrs() []string {
	var list []string
	for _, m := range c.members {
		list = append(list, m.client)
	}
	return list
}

// cpu returns the CPU time of all members since they were started.
func (c *cluster) cpu() (total time.Duration, err error) {
	for _, m := range c.members {
		used, err := processCPU(m.cmd.Process.Pid)
		if err != nil {
			return 0, m.explain(err)
		}
		total += used
	}
	return total, nil
}

// memory returns the memory of all members together.
func (c *cluster) memory() (total memory, err error) {
	for _, m := range c.members {
		held, err := processMemory(m.cmd.Process.Pid)
		if err != nil {
			return memory{}, m.explain(err)
		}
		total.RSS += held.RSS
		total.Anon += held.Anon
	}
	return total, nil
}

// explain adds the end of the member's log to err.
func (m *member) explain(err error) error {
	text, readErr := os.ReadFile(m.dir + ".log")
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return fmt.Errorf("%w; the log of %s ends with:\n%s", err, m.name, text[max(0, len(text)-2000):])
}

// kill ends all members at once, as a crash does, and waits until they are
// gone.
func (c *cluster) kill() {
	for _, m := range c.members {
		if m.cmd != nil {
			_ = m.cmd.Process.Kill() // it may have ended already
		}
	}
	for _, m := range c.members {
		if m.cmd != nil {
			<-m.done
		}
	}
}

// remove ends all members, by force if they do not go by themselves, waits
// for that and removes their data. It may be called again.
func (c *cluster) remove() error {
	for _, m := range c.members {
		if m.cmd != nil {
			_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		}
	}
	timeout := time.After(stopTimeout)
	for _, m := range c.members {
		if m.cmd == nil {
			continue
		}
		select {
		case <-m.done:
		case <-timeout:
			c.kill()
		}
	}
	return os.RemoveAll(c.dir)
}

// Ports are taken from below the range that outgoing connections get theirs
// from, so that none of those can take the port of a member between its crash
// and its restart.
const (
	lowestPort  = 20_000
	highestPort = 32_000
)

// freeAddrs finds n loopback addresses where nobody listens.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range 100 * n {
		addr := "127.0.0.1:" + strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort))
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer listener.Close() // held until all are found, so that they differ
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}
