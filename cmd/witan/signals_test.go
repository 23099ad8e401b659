package main

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
)

// TestSecondSignalEndsAtOnce stops a program that does not heed the first one.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	cmd := exec.Command("stubborn")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(stdout)
	for _, want := range []string{"running", "received terminated"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("it says %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // the status is looked at below
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
