package procs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/witan-kv/witan/scripts/torture/internal/links"
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
	Groups        int        // key groups; etcd has one
	Dir           string     // logs, and the data unless DataDirs is given
	DataDirs      []string   // one a member, or empty
	SnapshotCount int        // 0 is the server's default
	Extra         []string   // further flags for every member
	Links         *links.Net // between the members' peer ports, nil for none
}

// Cluster is the members of one cluster. Its methods, and those of its members, are for one goroutine.
type Cluster struct {
	Members []*Member

	config Config
	made   int          // members so far; their numbers are not used twice
	taken  map[int]bool // ports
	former []*Member    // dropped ones, whose logs still count
	launch launcher
}

// New chooses ports and directories and starts nothing.
func New(c Config) (*Cluster, error) {
	cl := &Cluster{config: c, taken: map[int]bool{}, launch: newLauncher()}
	for range c.Members {
		if _, err := cl.Add(); err != nil {
			return nil, err
		}
	}
	for _, m := range cl.Members {
		m.Initial = cl.Initial()
	}
	return cl, nil
}

// Add makes a further member with ports and directories of its own, and starts nothing.
// It is up to the caller to say what it joins.
func (c *Cluster) Add() (*Member, error) {
	ports, err := freePorts(2, c.taken)
	if err != nil {
		return nil, err
	}
	m := &Member{
		ID:     c.made,
		Name:   fmt.Sprintf("m%d", c.made),
		Client: fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		Peer:   fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		State:  "new",
		config: &c.config,
		launch: c.launch,
	}
	m.DataDir = filepath.Join(c.config.Dir, m.Name+".data")
	if m.ID < len(c.config.DataDirs) {
		m.DataDir = c.config.DataDirs[m.ID]
	}
	m.Log = filepath.Join(c.config.Dir, m.Name+".log")
	if HasSeam(c.config.Binary) {
		at, err := freePorts(1, c.taken)
		if err != nil {
			return nil, err
		}
		m.Seam = Seam(fmt.Sprintf("http://127.0.0.1:%d", at[0]))
	}
	if err := c.front(m); err != nil {
		return nil, err
	}
	c.made++
	c.Members = append(c.Members, m)
	return m, nil
}

// Move gives a member that does not run another address for its peers.
func (c *Cluster) Move(m *Member) error {
	if m.Running() {
		return fmt.Errorf("procs: %s is running and cannot move", m.Name)
	}
	ports, err := freePorts(1, c.taken)
	if err != nil {
		return err
	}
	m.Peer = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	return c.front(m)
}

// Drop takes a member off the list. Its log still counts, and its process, if any, ends with the cluster.
func (c *Cluster) Drop(m *Member) {
	if i := slices.Index(c.Members, m); i >= 0 {
		c.Members = slices.Delete(c.Members, i, i+1)
		c.former = append(c.former, m)
	}
}

// Initial is what --initial-cluster says of the members there are.
func (c *Cluster) Initial() string {
	var peers []string
	for _, m := range c.Members {
		peers = append(peers, m.Name+"="+m.Peer)
	}
	return strings.Join(peers, ",")
}

// Everyone is the members and those that were dropped.
func (c *Cluster) Everyone() []*Member { return slices.Concat(c.Members, c.former) }

func (c *Config) args(m *Member) []string {
	args := []string{
		"--name", m.Name, "--data-dir", m.DataDir,
		"--listen-client-urls", m.Client, "--advertise-client-urls", m.Client,
		"--listen-peer-urls", cmp.Or(m.Listen, m.Peer), "--initial-advertise-peer-urls", m.Peer,
		"--initial-cluster", m.Initial, "--initial-cluster-token", "torture", "--initial-cluster-state", m.State,
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
	return slices.Concat(args, c.Extra, m.Flags)
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
	for _, m := range c.Everyone() {
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
	for _, m := range c.Everyone() {
		m.Running() // notes an end
		if m.unasked != "" {
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
		for _, bad := range []string{"panic:", "fatal error", "DATA RACE", "[signal SIG", "SIGSEGV", "SIGBUS", "SIGABRT"} {
			if strings.Contains(line, bad) {
				out = append(out, strings.TrimSpace(line))
				break
			}
		}
	}
	return out, nil
}
