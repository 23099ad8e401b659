package procs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Kind is the server under test.
type Kind string

// The servers the suite knows how to start.
const (
	Witan Kind = "witan"
	Etcd  Kind = "etcd"
)

// Config says what to start.
type Config struct {
	Kind          Kind
	Binary        string
	Members       int
	Groups        int      // key groups; etcd has one
	Dir           string   // logs, and the data unless DataDirs is given
	DataDirs      []string // one a member, or empty
	SnapshotCount int      // 0 is the server's default
	Extra         []string // further flags for every member
}

// Cluster is the members of one cluster. Its methods, and those of its members, are for one goroutine.
type Cluster struct {
	Members []*Member

	launch launcher
}

// New chooses ports and directories and starts nothing.
func New(c Config) (*Cluster, error) {
	ports, err := freePorts(2 * c.Members)
	if err != nil {
		return nil, err
	}
	cl := &Cluster{launch: newLauncher()}
	var peers []string
	for i := range c.Members {
		m := &Member{
			ID:     i,
			Name:   fmt.Sprintf("m%d", i),
			Client: fmt.Sprintf("http://127.0.0.1:%d", ports[2*i]),
			Peer:   fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1]),
			launch: cl.launch,
		}
		m.DataDir = filepath.Join(c.Dir, m.Name+".data")
		if i < len(c.DataDirs) {
			m.DataDir = c.DataDirs[i]
		}
		m.Log = filepath.Join(c.Dir, m.Name+".log")
		peers = append(peers, m.Name+"="+m.Peer)
		cl.Members = append(cl.Members, m)
	}
	for _, m := range cl.Members {
		m.args = c.args(m, strings.Join(peers, ","))
		m.binary = c.Binary
	}
	return cl, nil
}

func (c *Config) args(m *Member, initial string) []string {
	args := []string{
		"--name", m.Name, "--data-dir", m.DataDir,
		"--listen-client-urls", m.Client, "--advertise-client-urls", m.Client,
		"--listen-peer-urls", m.Peer, "--initial-advertise-peer-urls", m.Peer,
		"--initial-cluster", initial, "--initial-cluster-token", "torture", "--initial-cluster-state", "new",
	}
	if c.SnapshotCount > 0 {
		args = append(args, "--snapshot-count", fmt.Sprint(c.SnapshotCount))
	}
	switch c.Kind {
	case Etcd:
		args = append(args, "--enable-v2=true", "--logger", "zap", "--log-outputs", "stderr")
	case Witan:
		args = append(args, "--groups", fmt.Sprint(c.Groups))
	}
	return append(args, c.Extra...)
}

// Start starts every member. It does not wait until they serve.
func (c *Cluster) Start() error {
	var errs []error
	for _, m := range c.Members {
		errs = append(errs, m.Start())
	}
	return errors.Join(errs...)
}

// Kill kills every member with SIGKILL and waits for their ends.
func (c *Cluster) Kill() error {
	var errs []error
	for _, m := range c.Members {
		errs = append(errs, m.signal(killed))
	}
	for _, m := range c.Members {
		errs = append(errs, m.wait())
	}
	return errors.Join(errs...)
}

// Close kills what still runs, and nothing else. It can be called at any time and more than once.
func (c *Cluster) Close() {
	for _, m := range c.Members {
		m.destroy()
	}
	c.launch.close()
}

// Ready waits until every member answers a quorum read.
func (c *Cluster) Ready(ctx context.Context) error {
	for _, m := range c.Members {
		if err := m.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Complaints are lines of the members' logs that a healthy server never writes, and ends nobody asked for.
func (c *Cluster) Complaints() ([]string, error) {
	var out []string
	for _, m := range c.Members {
		if !m.Running() && m.unasked != "" {
			out = append(out, m.Name+" ended by itself: "+m.unasked)
		}
		lines, err := complaints(m.Log)
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			out = append(out, m.Name+": "+l)
		}
	}
	return out, nil
}

func complaints(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("procs: read log: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		for _, bad := range []string{"panic:", "fatal error", "DATA RACE", "[signal SIG"} {
			if strings.Contains(line, bad) {
				out = append(out, strings.TrimSpace(line))
				break
			}
		}
	}
	return out, nil
}
