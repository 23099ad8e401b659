package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBackupPage runs what docs/backup.md shows, in order, beside a member,
// and then starts the one that was restored.
func TestBackupPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	p := startProcess(t, t.TempDir())
	put(t, p.url, "/dir/key", "value")
	put(t, p.url, "/_hidden", "secret")
	dir := t.TempDir()
	all := examples(t, "../../docs/backup.md")
	if len(all) < 5 {
		t.Fatalf("found only %d examples", len(all))
	}
	for _, e := range all {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(e.command, "http://127.0.0.1:2379", p.url))
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("%s: %v", e.command, err)
		}
		got := strings.TrimRight(string(out), "\n")
		if !matchesLines(e.want, got) || cmd.ProcessState.ExitCode() != shownStatus(e.want) {
			t.Errorf("%s: status %d\n got %s\nwant %s", e.command, cmd.ProcessState.ExitCode(), got, e.want)
		}
	}
	restored := startProcess(t, filepath.Join(dir, "new.witan"), "--name", "infra1")
	for key, value := range map[string]string{"/dir/key": "value", "/_hidden": "secret"} {
		if code, body := get(t, restored.url+"/v2/keys"+key); code != http.StatusOK || !strings.Contains(body, `"value":"`+value+`"`) {
			t.Errorf("%s: %d %s", key, code, body)
		}
	}
	if code, body := get(t, restored.url+"/v2/keys/dir?wait=true&recursive=true&waitIndex=4"); code != http.StatusBadRequest || !strings.Contains(body, `"errorCode":401`) {
		t.Errorf("a watch from before: %d %s", code, body)
	}
	if code, body := put(t, restored.url, "/new", "key"); code != http.StatusCreated || !strings.Contains(body, `"modifiedIndex":10000000`) {
		t.Errorf("a new key: %d %s", code, body)
	}
}

// TestScheduledBackups lets a member make backups, across restarts.
func TestScheduledBackups(t *testing.T) {
	data, dir := t.TempDir(), filepath.Join(t.TempDir(), "made", "by", "witan")
	flags := []string{"--name", "a/b", "--backup-dir", dir, "--backup-interval", "1s", "--backup-keep", "2"}
	p := startProcess(t, data, flags...)
	put(t, p.url, "/k", "v")
	first := awaitBackups(t, dir, 2, "")
	for _, name := range first {
		if !strings.HasPrefix(name, "a%2Fb-") {
			t.Errorf("the name of the member is not in %s", name)
		}
		if out, err := exec.Command("witan", "verify", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	p.stop(t, syscall.SIGKILL)

	// What others have put there stays, what the killed one has begun does not.
	left := ownBackups(t, dir)
	newest := left[len(left)-1]
	unfinished := newest + ".tmp"
	for _, name := range []string{"other-1-2-20260101T000000Z.wbk", "notes.txt", unfinished} {
		touch(t, filepath.Join(dir, name))
	}
	p = startProcess(t, data, flags...)
	awaitBackups(t, dir, 2, newest)
	for name, want := range map[string]bool{"other-1-2-20260101T000000Z.wbk": true, "notes.txt": true, unfinished: false, first[0]: false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.stop(t, syscall.SIGTERM)

	// A restart does not bring one forward, nor put it off.
	flags[5] = "1h"
	p = startProcess(t, data, flags...)
	before := ownBackups(t, dir)
	put(t, p.url, "/k", "v2")
	b := backups{dir: dir, prefix: prefixOf(before[0]), interval: time.Hour}
	if due := b.due(time.Now()); due < 50*time.Minute || due > time.Hour {
		t.Errorf("the next one is due in %v", due)
	}
	if due := b.due(time.Now().Add(24 * time.Hour)); due != 0 {
		t.Errorf("a day later one is due in %v", due)
	}
	p.stop(t, syscall.SIGTERM)
	if after := ownBackups(t, dir); after[len(after)-1] != before[len(before)-1] {
		t.Errorf("%v were made after %v", after, before)
	}
}

// prefixOf returns what a backup's name begins with, up to the cluster id.
func prefixOf(name string) string {
	parts := strings.SplitN(name, "-", 3)
	return parts[0] + "-" + parts[1] + "-"
}

func ownBackups(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "a%2Fb-*.wbk"))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = filepath.Base(path)
	}
	return names
}

// awaitBackups waits until there are exactly n backups, all newer than the
// one called after.
func awaitBackups(t *testing.T, dir string, n int, after string) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if names := ownBackups(t, dir); len(names) == n && names[0] > after {
			return names
		}
	}
	t.Fatalf("there are %v", ownBackups(t, dir))
	return nil
}

// TestScheduledBackupFails wants a failure logged, and the member to go on.
func TestScheduledBackupFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	touch(t, file)
	p := startProcess(t, t.TempDir(), "--backup-dir", file, "--backup-interval", "1s")
	for deadline := time.Now().Add(patience); strings.Count(p.logged(), "a scheduled backup has failed") < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is logged")
		}
	}
	if code, body := put(t, p.url, "/k", "v"); code != http.StatusCreated {
		t.Errorf("%d %s", code, body)
	}
}
