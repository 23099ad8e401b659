package procs

import (
	"context"
	"fmt"
	"os"

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

// Answers says whether the member serves clients, with or without a quorum.
func (m *Member) Answers(ctx context.Context) error {
	var version any
	return m.fetch(ctx, "/version", &version)
}
