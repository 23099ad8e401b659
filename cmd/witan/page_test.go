package main

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestConfigurationPage runs what docs/configuration.md shows, in order, beside
// a cluster of three of which one has lost its data. In what the commands
// should print, a line "…" stands for any lines, and "…" elsewhere for anything
// on the line.
func TestConfigurationPage(t *testing.T) {
	shown := shownCluster(t)
	dir := t.TempDir()
	all := examples(t, "../../docs/configuration.md")
	if len(all) < 45 {
		t.Fatalf("found only %d examples", len(all))
	}
	for _, e := range all {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, "sh", "-c", shown.real.Replace(e.command))
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("%s: %v", e.command, err)
		}
		got := strings.TrimRight(shown.page.Replace(string(out)), "\n")
		if !matchesLines(e.want, got) {
			t.Errorf("%s\n got %s\nwant %s", e.command, got, e.want)
		}
		if status := cmd.ProcessState.ExitCode(); status != shownStatus(e.want) {
			t.Errorf("%s: status %d, want %d", e.command, status, shownStatus(e.want))
		}
	}
}

// shownStatus is what the page says of the status of a command that prints out.
func shownStatus(out string) int {
	if strings.Contains(out, "\nusage: ") {
		return exitUsage
	}
	for line := range strings.Lines(out) {
		isFault := strings.HasPrefix(line, "witan: ") && !strings.HasPrefix(line, "witan: warning: ")
		if isFault || strings.Contains(line, "witan stops") {
			return exitFailed
		}
	}
	return exitOK
}

// matchesLines is matches, where a line "…" in want is any number of lines.
func matchesLines(want, got string) bool {
	pattern := regexp.QuoteMeta("\n" + want + "\n")
	pattern = strings.ReplaceAll(pattern, "\n…\n", "\n(?:.*\n)*")
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString("\n" + got + "\n")
}

func TestMatchesLines(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"a", "a", true},
		{"", "", true},
		{"a", "a\nb", false},
		{"…\nb", "b", true},
		{"…\nb", "a\na\nb", true},
		{"…\nb", "a\nc", false},
		{"a\n…\nd", "a\nb\nc\nd", true},
		{"a\n…", "a\nb", true},
		{"a…\nc", "ab\nc", true},
		{"a…c", "a\nc", false},
	} {
		if matchesLines(tt.want, tt.got) != tt.ok {
			t.Errorf("matchesLines(%q, %q) is not %v", tt.want, tt.got, tt.ok)
		}
	}
}

// names translates between the URLs of the page and those of this test.
type names struct{ real, page *strings.Replacer }

// shownCluster starts the cluster of the page and takes the data of infra3.
func shownCluster(t *testing.T) names {
	t.Helper()
	var real, page []string
	peers := make([]string, 3)
	for i, shown := range []string{"http://127.0.0.1:2380", "http://127.0.0.1:2382", "http://127.0.0.1:2384", "http://127.0.0.1:2386"} {
		u := freeURL(t)
		real, page = append(real, shown, u), append(page, u, shown)
		if i < len(peers) {
			peers[i] = u
		}
	}
	initial := "infra1=" + peers[0] + ",infra2=" + peers[1] + ",infra3=" + peers[2]
	members := make([]*process, len(peers))
	for i, u := range peers {
		members[i] = launch(t, t.TempDir(), "--name", []string{"infra1", "infra2", "infra3"}[i], "--initial-cluster", initial,
			"--listen-peer-urls", u, "--initial-advertise-peer-urls", u)
	}
	for _, p := range members {
		p.await(t)
	}
	members[2].stop(t, syscall.SIGTERM)
	const client = "http://127.0.0.1:2379"
	real, page = append(real, client, members[0].url), append(page, members[0].url, client)
	// What a member says of a socket has no "http://", and bare addresses stay as they are.
	return names{strings.NewReplacer(real...), strings.NewReplacer(page...)}
}
