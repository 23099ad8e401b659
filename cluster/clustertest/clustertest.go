// Package clustertest runs whole clusters in one process for tests.
package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
)

// startTimeout is how long members may take to form a cluster. It is long for
// race-detector builds on busy machines; nothing waits for it otherwise.
const startTimeout = 60 * time.Second

// Options says what cluster to start.
type Options struct {
	Members      int // default 1
	Groups       int // default 1
	EventHistory int // default cluster.DefaultConfig's
	// SnapshotCount is the number of log entries between snapshots.
	SnapshotCount uint64
}

// Cluster is a cluster of members in this process. Its methods belong to the
// test's goroutine.
type Cluster struct {
	tb      testing.TB
	configs []cluster.Config
	Nodes   []*cluster.Node // nil where a member is stopped
}

// Start starts a cluster and stops it at the end of the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := prepare(tb, o)
	c.Restart(all(len(c.configs))...)
	return c
}

// Restore starts a cluster that is made of a backup.
func Restore(tb testing.TB, o Options, backup []byte) *Cluster {
	tb.Helper()
	c := prepare(tb, o)
	for _, cfg := range c.configs {
		if _, err := cluster.Restore(tb.Context(), cfg, bytes.NewReader(backup), cluster.DefaultIndexBump); err != nil {
			tb.Fatalf("restore %s: %v", cfg.Name, err)
		}
	}
	c.Restart(all(len(c.configs))...)
	return c
}

// prepare makes the configurations of a cluster.
func prepare(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	dir := tb.TempDir()
	var peers []cluster.Peer
	for i := range max(o.Members, 1) {
		url := "http://" + freeAddress(tb)
		peers = append(peers, cluster.Peer{Name: fmt.Sprintf("m%d", i), URLs: []string{url}})
	}
	for i, p := range peers {
		cfg := cluster.DefaultConfig()
		cfg.Name, cfg.DataDir, cfg.InitialCluster = p.Name, filepath.Join(dir, p.Name), peers
		cfg.ListenPeerURLs, cfg.AdvertisePeerURLs = p.URLs, p.URLs
		cfg.AdvertiseClientURLs = []string{fmt.Sprintf("http://127.0.0.1:%d", 1000+i)}
		cfg.Groups = max(o.Groups, 1)
		if o.EventHistory > 0 {
			cfg.EventHistory = o.EventHistory
		}
		if o.SnapshotCount > 0 {
			cfg.SnapshotCount = o.SnapshotCount
		}
		cfg.Heartbeat, cfg.ElectionTimeout = 40*time.Millisecond, 400*time.Millisecond
		cfg.Logger = zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.InfoLevel)
		c.configs = append(c.configs, cfg)
	}
	c.Nodes = make([]*cluster.Node, len(peers))
	tb.Cleanup(c.stopAll)
	return c
}

// Stop stops a member in order.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	n := c.Nodes[i]
	c.Nodes[i] = nil
	if err := n.Close(); err != nil {
		c.tb.Fatalf("stop member %d: %v", i, err)
	}
}

// Restart starts stopped members and returns when they have caught up.
func (c *Cluster) Restart(members ...int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for j, i := range members {
		wg.Go(func() { c.Nodes[i], errs[j] = cluster.Open(ctx, c.configs[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.tb.Fatalf("start members %v: %v", members, err)
	}
}

// Join adds a member to the running cluster through member by, starts it, and
// returns its number when it has caught up.
func (c *Cluster) Join(by int) int {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cfg := c.next()
	if _, err := c.Nodes[by].AddMember(ctx, cfg.AdvertisePeerURLs); err != nil {
		c.tb.Fatalf("add member %s: %v", cfg.Name, err)
	}
	return c.startJoining(ctx, cfg)
}

// next returns the configuration of one more member that joins those there are.
func (c *Cluster) next() cluster.Config {
	cfg := c.configs[0]
	i := len(c.configs)
	url := "http://" + freeAddress(c.tb)
	cfg.Name, cfg.Join = fmt.Sprintf("m%d", i), cluster.JoinExisting
	cfg.DataDir = filepath.Join(filepath.Dir(cfg.DataDir), cfg.Name)
	cfg.ListenPeerURLs, cfg.AdvertisePeerURLs = []string{url}, []string{url}
	cfg.AdvertiseClientURLs = []string{fmt.Sprintf("http://127.0.0.1:%d", 1000+i)}
	cfg.InitialCluster = nil
	for _, n := range c.Nodes {
		if n == nil {
			continue
		}
		for _, m := range n.Members() {
			cfg.InitialCluster = append(cfg.InitialCluster, cluster.Peer{Name: m.Name, URLs: m.PeerURLs})
		}
		break
	}
	cfg.InitialCluster = append(cfg.InitialCluster, cluster.Peer{Name: cfg.Name, URLs: []string{url}})
	return cfg
}

func (c *Cluster) startJoining(ctx context.Context, cfg cluster.Config) int {
	c.tb.Helper()
	n, err := cluster.Open(ctx, cfg)
	if err != nil {
		c.tb.Fatalf("start member %s: %v", cfg.Name, err)
	}
	c.configs, c.Nodes = append(c.configs, cfg), append(c.Nodes, n)
	return len(c.Nodes) - 1
}

// Config returns the configuration of a member, to be changed before a Restart.
func (c *Cluster) Config(i int) *cluster.Config { return &c.configs[i] }

// Eventually polls a condition until it holds, at most for startTimeout.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(startTimeout); !condition(); {
		if time.Now().After(deadline) {
			tb.Fatalf("waited too long until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *Cluster) stopAll() {
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		if n != nil {
			wg.Go(func() {
				if err := n.Close(); err != nil {
					c.tb.Errorf("stop: %v", err)
				}
			})
		}
	}
	wg.Wait()
}

func all(n int) []int {
	var is []int
	for i := range n {
		is = append(is, i)
	}
	return is
}

// freeAddress returns an address nobody listens on just now.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Move gives a stopped member other peer URLs and returns them.
func (c *Cluster) Move(i int) []string {
	c.tb.Helper()
	urls := []string{"http://" + freeAddress(c.tb)}
	c.configs[i].ListenPeerURLs, c.configs[i].AdvertisePeerURLs = urls, urls
	return urls
}

// CopyData copies the data directory of a stopped member and returns where to.
func (c *Cluster) CopyData(i int) string {
	c.tb.Helper()
	dir := filepath.Join(c.tb.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(c.configs[i].DataDir)); err != nil {
		c.tb.Fatal(err)
	}
	return dir
}

// PutData replaces the data of a stopped member with a copy, or with nothing if from is "".
func (c *Cluster) PutData(i int, from string) {
	c.tb.Helper()
	dir := c.configs[i].DataDir
	if err := os.RemoveAll(dir); err != nil {
		c.tb.Fatal(err)
	}
	if from == "" {
		return
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		c.tb.Fatal(err)
	}
}
