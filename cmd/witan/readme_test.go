package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// example is a command of README.md and what it says the command prints.
type example struct{ command, want string }

// TestReadme runs the examples of README.md, in order, against a new member.
// In what they should print, "…" stands for anything on the line.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("curl is not installed")
	}
	const shown, shownPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	p := startProcess(t, t.TempDir(), "--initial-advertise-peer-urls", shownPeer)
	all := examples(t, "../../README.md")
	if len(all) < 15 {
		t.Fatalf("found only %d examples", len(all))
	}
	for _, e := range all {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(e.command, shown, p.url)+" --silent --show-error --max-time 30")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", e.command, err)
		}
		if got := strings.TrimRight(string(out), "\n"); !matches(e.want, got) {
			t.Errorf("%s\n got %s\nwant %s", e.command, got, e.want)
		}
	}
}

// examples reads the "console" blocks of a Markdown file: lines that start
// with "$ " are commands, those up to the next command their output.
func examples(t *testing.T, path string) []example {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	inside := false
	for line := range strings.SplitSeq(string(b), "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && isCommand:
			all = append(all, example{command: command})
		case inside && len(all) > 0:
			last := &all[len(all)-1]
			last.want = strings.TrimPrefix(last.want+"\n"+line, "\n")
		}
	}
	return all
}

// matches reports whether got is want, where "…" in want is anything but a newline.
func matches(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(got)
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"a…c", "abc", true},
		{"a…c", "abd", false},
		{"a…", "a\nb", false},
		{"[a]", "a", false},
		{"a", "ab", false},
	} {
		if matches(tt.want, tt.got) != tt.ok {
			t.Errorf("matches(%q, %q) is not %v", tt.want, tt.got, tt.ok)
		}
	}
}
