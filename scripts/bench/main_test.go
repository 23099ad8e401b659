package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the floor, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == floorCommand {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func needProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("figures come from /proc, which this system does not have")
	}
}

// runHere runs the program with its data in a directory of its own, which
// must be empty afterwards.
func runHere(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	dir := t.TempDir()
	var out, progress bytes.Buffer
	code = run(t.Context(), append(args, "--dir", dir), &out, &progress)
	t.Log(progress.String())
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return out.String(), code
}

func TestFloorIsMeasured(t *testing.T) {
	needProc(t)
	out, code := runHere(t, "--servers", "floor", "--workloads", "put,get,start-empty",
		"--connections", "1,4", "--value-size", "64", "--members", "1", "--groups", "1", "--rounds", "2", "--duration", "100ms", "--warm-up", "0s", "--json")
	if code != exitDone {
		t.Fatalf("exit status %d", code)
	}
	loads := 0
	for line := range strings.Lines(out) {
		var found struct{ Load *loadSample }
		if err := json.Unmarshal([]byte(line), &found); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if s := found.Load; s != nil {
			loads++
			if s.Requests == 0 || s.Refused != 0 || s.P50 <= 0 || s.P999 < s.P50 || s.Memory.RSS == 0 {
				t.Errorf("a sample that cannot be: %s", line)
			}
		}
	}
	if loads != 2*2*2 {
		t.Errorf("%d samples of 2 workloads, 2 connection counts and 2 rounds", loads)
	}
}

func TestEtcdIsMeasured(t *testing.T) {
	needProc(t)
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Skip("no etcd on this machine (Debian: etcd-server); nothing to measure")
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("docs", 0o755); err != nil {
		t.Fatal(err)
	}
	out, code := runHere(t, "--servers", "etcd,floor", "--workloads", "put,mixed,cas,post,refresh,list,idle,open-loop,watch-one,watch-many,stream,watch-idle,start-empty,start-loaded",
		"--connections", "2", "--value-size", "64,1000", "--members", "1", "--groups", "1", "--watchers", "20", "--rounds", "1",
		"--duration", "100ms", "--warm-up", "0s", "--start-keys", "500", "--write")
	if code != exitDone {
		t.Fatalf("exit status %d", code)
	}
	if strings.Contains(out, "refused") {
		t.Errorf("etcd refused requests:\n%s", out)
	}
	page, err := os.ReadFile(filepath.FromSlash(reportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"`put`", "values of 1,000 bytes", "| 2 | etcd |", "| 2 | floor |", "`idle`", "| 500 | 1,000 | etcd |", "after kill -9", "| etcd | 3.4",
		"`cas`", "`post`", "`refresh`", "`list`", "| PUT | etcd |", "| GET | etcd |",
		"`watch-one`", "`watch-many`", "`stream`", "`watch-idle`", "| 20 | etcd |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is not in the page:\n%s", want, page)
		}
	}
}

// TestStopsWhenTold cancels a long measurement and sees that the server ends
// with it.
func TestStopsWhenTold(t *testing.T) {
	needProc(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := make(chan struct{})
	pids := make(chan int, 1)
	o, err := parseFlags([]string{"--servers", "floor", "--dir", t.TempDir(), "--duration", "10m", "--workloads", "get"}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	products, err := productsOf(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		c, err := startReady(ctx, products[0], o.base(), o.dir)
		if err != nil {
			close(began)
			ended <- err
			return
		}
		pids <- c.members[0].cmd.Process.Pid
		close(began)
		_, err = (&target{cluster: c}).load(ctx, workloads()[0], 2, o.pace(true), 0)
		ended <- errors.Join(err, c.remove())
	}()
	<-began
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want that it was cancelled", err)
		}
	case <-time.After(2 * stopTimeout):
		t.Fatal("still measuring")
	}
	if err := syscall.Kill(<-pids, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the server has not ended: %v", err)
	}
}

func TestFreeAddrsDiffer(t *testing.T) {
	addrs, err := freeAddrs(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, a := range addrs {
		if seen[a] {
			t.Errorf("%s twice", a)
		}
		seen[a] = true
	}
}

func TestCleanEnvironment(t *testing.T) {
	got := cleanEnvironment([]string{"PATH=/bin", "ETCD_NAME=x", "WITAN_GROUPS=4", "HOME=/"})
	if strings.Join(got, " ") != "PATH=/bin HOME=/" {
		t.Errorf("got %v", got)
	}
}
