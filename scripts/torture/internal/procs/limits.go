package procs

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors is how many files the member's process has open.
func (m *Member) Descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.Pid()))
	if err != nil {
		return 0, fmt.Errorf("procs: descriptors of %s: %w", m.Name, err)
	}
	return len(entries), nil
}

// LimitDescriptors sets how many files the process may have open from now on, and returns how many they were.
func (m *Member) LimitDescriptors(n int) (before int, err error) {
	var old unix.Rlimit
	pid := m.Pid()
	if pid == 0 {
		return 0, fmt.Errorf("procs: %s: %w", m.Name, errNotRunning)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return 0, fmt.Errorf("procs: descriptors of %s: %w", m.Name, err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: old.Max}, nil); err != nil { //nolint:gosec // a count
		return 0, fmt.Errorf("procs: descriptors of %s: %w", m.Name, err)
	}
	return int(old.Cur), nil //nolint:gosec // a count
}

// Answers says whether the member soon serves a client it has not seen, with or without a quorum.
func (m *Member) Answers(ctx context.Context, soon time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Client+"/version", nil)
	if err != nil {
		return fmt.Errorf("procs: %w", err)
	}
	resp, err := strangers().Do(req)
	if err != nil {
		return fmt.Errorf("procs: ask %s: %w", m.Name, err)
	}
	return resp.Body.Close()
}

// Usage is what a process takes of its machine.
type Usage struct {
	Descriptors, Threads int
	RSS                  int // bytes
}

// Usage is what the member's process takes now.
func (m *Member) Usage() (Usage, error) {
	var u Usage
	var err error
	if u.Descriptors, err = m.Descriptors(); err != nil {
		return u, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.Pid()))
	if err != nil {
		return u, fmt.Errorf("procs: usage of %s: %w", m.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Threads":
			_, err = fmt.Sscanf(value, "%d", &u.Threads)
		case "VmRSS":
			_, err = fmt.Sscanf(value, "%d kB", &u.RSS)
			u.RSS <<= 10
		}
		if err != nil {
			return u, fmt.Errorf("procs: usage of %s: %q: %w", m.Name, line, err)
		}
	}
	return u, nil
}
