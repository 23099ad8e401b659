package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// cgroup is a group of control (version 1) with one process in it.
type cgroup struct {
	dir, parent string
	pid         int
}

// newCgroup makes a group below the one the suite is in and moves a member there. prepare may set it up before.
func newCgroup(controller string, m *procs.Member, prepare func(*cgroup) error) (*cgroup, error) {
	parent := "/sys/fs/cgroup/" + controller
	dir, err := os.MkdirTemp(parent, "torture-")
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	g := &cgroup{dir: dir, parent: parent, pid: m.Pid()}
	err = prepare(g)
	if err == nil {
		err = g.set("cgroup.procs", g.pid)
	}
	if err != nil {
		return nil, errors.Join(err, g.lift())
	}
	return g, nil
}

func (g *cgroup) set(file string, value int) error {
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.Itoa(value)), 0); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	return nil
}

func (g *cgroup) get(file string) (int, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return 0, fmt.Errorf("limits: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("limits: %s: %w", file, err)
	}
	return n, nil
}

// lift moves the process back, if it still runs, and removes the group. One that is just ending cannot be moved any more.
func (g *cgroup) lift() error {
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		_ = os.WriteFile(filepath.Join(g.parent, "cgroup.procs"), []byte(strconv.Itoa(g.pid)), 0)
		err := os.Remove(g.dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("limits: %w", err)
		}
	}
}

// quota is a bound of processor time.
type quota struct{ *cgroup }

func throttle(m *procs.Member, share float64) (quota, error) {
	const period = 100_000 // µs
	g, err := newCgroup("cpu", m, func(g *cgroup) error {
		return errors.Join(g.set("cpu.cfs_period_us", period), g.set("cpu.cfs_quota_us", int(share*period)))
	})
	return quota{g}, err
}

// throttled says whether the bound has told.
func (q quota) throttled() bool {
	text, err := os.ReadFile(filepath.Join(q.dir, "cpu.stat"))
	return err == nil && strings.Contains(string(text), "nr_throttled ") && !strings.Contains(string(text), "nr_throttled 0\n")
}

// bounds are a bound of memory.
type bounds struct{ *cgroup }

// headroom is what a squeezed member gets beside what it has: that counts where it was first used and not where the process is moved to.
const headroom = 2 << 20

func confine(m *procs.Member) (*bounds, error) {
	g, err := newCgroup("memory", m, func(g *cgroup) error { return g.set("memory.limit_in_bytes", headroom) })
	if err != nil {
		return nil, err
	}
	return &bounds{g}, nil
}

// refused says whether the bound has told.
func (b *bounds) refused() bool {
	n, err := b.get("memory.failcnt")
	return err == nil && n > 0
}
