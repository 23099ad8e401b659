package procs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is one member whose "server" is a shell script, which is all that signals and logs need.
func cluster(t *testing.T, script string) (*Cluster, *Member) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Kind: Witan, Binary: path, Members: 1, Groups: 1, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, c.Members[0]
}

func TestKillIsOver(t *testing.T) {
	c, m := cluster(t, "exec sleep 60")
	pid := m.Pid()
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if m.Running() || syscall.Kill(pid, 0) == nil {
		t.Error("the process is still there after Kill")
	}
	if err := m.Kill(); err == nil {
		t.Error("Kill of nothing was no error: a fault that does not bite must show")
	}
	if lines, err := c.Complaints(); err != nil || len(lines) > 0 {
		t.Errorf("an end that was asked for is complained of: %v, %v", lines, err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if m.Pid() == pid {
		t.Error("the restarted member has the old pid")
	}
}

func TestPauseAndResume(t *testing.T) {
	_, m := cluster(t, "exec sleep 60")
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	if !m.Running() {
		t.Error("a paused member counts as gone")
	}
	if err := m.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestComplaints(t *testing.T) {
	c, m := cluster(t, "echo all is well; echo 'panic: not so well'; exit 3")
	await(t, func() bool { return !m.Running() })
	lines, err := c.Complaints()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	if len(lines) != 2 || !strings.Contains(text, "exit status 3") || !strings.Contains(text, "panic: not so well") {
		t.Errorf("complaints are %q", lines)
	}
}

func TestReadyTellsOfAnEnd(t *testing.T) {
	_, m := cluster(t, "exit 1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Ready(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Ready of a member that ended: %v, %v", err, ctx.Err())
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	c, m := cluster(t, "trap '' TERM; while :; do sleep 1; done")
	pid := m.Pid()
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	if syscall.Kill(pid, 0) == nil {
		t.Error("the process outlived Close")
	}
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the condition did not come true")
		}
	}
}
