package main

import (
	"os"
	"testing"
	"time"
)

func TestParseProcessCPU(t *testing.T) {
	tests := []struct {
		name string
		stat string
		want time.Duration
		bad  bool
	}{
		{"usual", "42 (etcd) S 1 42 42 0 -1 4194560 1000 0 1 0 250 50 9 9 20 0 10 0 100", 3 * time.Second, false},
		{"a name that looks like fields", "42 (a) S (b) 9) R 1 42 42 0 -1 4194560 1000 0 1 0 1 2 9 9 20", 30 * time.Millisecond, false},
		{"cut", "42 (etcd) S 1 42", 0, true},
		{"letters", "42 (etcd) S 1 42 42 0 -1 4194560 1000 0 1 0 x 50 9 9 20", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseProcessCPU([]byte(tt.stat))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestParseProcessMemory(t *testing.T) {
	got, err := parseProcessMemory("Name:\tetcd\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\nRssFile:\t 1536 kB\n")
	if want := (memory{RSS: 2 << 20, Anon: 512 << 10}); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseProcessMemory("Name:\tetcd\nState:\tZ (zombie)\n"); err == nil {
		t.Error("a process that has ended has no memory to tell, but no error came")
	}
}

func TestParseMachineCPU(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	got, err := parseMachineCPU("cpu  1 2 4 1000 1000 8 16 32 500 500\ncpu0 0 0\n")
	if want := (machineTimes{busy: 31 * clockTick, stolen: 32 * clockTick}); got != want || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := parseMachineCPU("intr 1 2 3"); err == nil {
		t.Error("no error for a file that does not begin with the CPU")
	}
}

func TestThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	held, err := processMemory(os.Getpid())
	if err != nil || held.Anon <= 0 || held.RSS < held.Anon {
		t.Errorf("memory of this process: %+v, %v", held, err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		used, err := processCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if used > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("this process spins and yet uses no CPU")
		}
	}
}
