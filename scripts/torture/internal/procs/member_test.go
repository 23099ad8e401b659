package procs

import (
	"context"
	"fmt"
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

func TestEnded(t *testing.T) {
	c, m := cluster(t, "exit 3")
	if status, err := m.Ended(t.Context()); status != 3 || err != nil {
		t.Errorf("ended with %d, %v", status, err)
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return !m.Running() }) // noticed before it is asked about
	if status, err := m.Ended(t.Context()); status != 3 || err != nil {
		t.Errorf("ended with %d, %v", status, err)
	}
	if lines, err := c.Complaints(); err != nil || len(lines) > 0 {
		t.Errorf("an end that was judged is complained of: %v, %v", lines, err)
	}
	if _, err := m.Ended(t.Context()); err == nil {
		t.Error("nothing ran, and it is said to have ended")
	}
}

func TestMembersComeAndGo(t *testing.T) {
	c, first := cluster(t, "echo $@; exec sleep 60")
	m, err := c.Add()
	if err != nil {
		t.Fatal(err)
	}
	m.Initial, m.State, m.Flags = c.Initial(), "existing", []string{"--own"}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	tail := &Tail{Member: m, path: m.Log}
	var said string
	await(t, func() bool {
		lines, err := tail.Lines()
		said += strings.Join(lines, "")
		return err != nil || said != ""
	})
	for _, want := range []string{"m0=" + first.Peer + ",m1=" + m.Peer, "--initial-cluster-state existing", "--own"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	c.Drop(m)
	pid := m.Pid()
	if len(c.Members) != 1 || len(c.Everyone()) != 2 {
		t.Errorf("%d members, %d in all", len(c.Members), len(c.Everyone()))
	}
	c.Close()
	if syscall.Kill(pid, 0) == nil {
		t.Error("a dropped member outlived Close")
	}
}

func TestDisks(t *testing.T) {
	_, m := cluster(t, "exec sleep 60")
	file := filepath.Join(m.DataDir, "member", "log")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	if m.Wipe() == nil || m.Save(m.DataDir+".copy") == nil {
		t.Error("the disk of a running member was touched")
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(m.DataDir + ".copy"); err != nil {
		t.Fatal(err)
	}
	write("new")
	if err := m.Restore(m.DataDir + ".copy"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "old" {
		t.Errorf("restored %q, %v", text, err)
	}
}

func TestTailReadsWholeLines(t *testing.T) {
	_, m := cluster(t, "exec sleep 60")
	tail, err := m.Tail()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(m.Log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, step := range []struct{ write, want string }{{"", "[]"}, {"one\ntw", "[one]"}, {"o\nthree\n", "[two three]"}} {
		if _, err := log.WriteString(step.write); err != nil {
			t.Fatal(err)
		}
		if lines, err := tail.Lines(); err != nil || fmt.Sprint(lines) != step.want {
			t.Errorf("%v, %v, want %s", lines, err, step.want)
		}
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
