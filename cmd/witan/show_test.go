package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameSettings compares what was set, not where.
func sameSettings(a, b config) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(config{}), cmpopts.IgnoreFields(config{}, "given", "ConfigFile", "PrintConfig"))
}

// show returns the settings as --print-config prints them.
func show(t interface{ Fatal(args ...any) }, c config) string {
	var b bytes.Buffer
	if err := writeConfig(&b, &c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readBack reads what show returned.
func readBack(t interface{ Fatal(args ...any) }, path, shown string) config {
	if err := os.WriteFile(path, []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := parseConfig([]string{"--config-file", path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestShownSettingsCanBeReadBack feeds what --print-config prints to --config-file.
func TestShownSettingsCanBeReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witan.yml")
	rapid.Check(t, func(t *rapid.T) {
		// Any flag, with a value of its kind that the flag package takes.
		var table config
		var args []string
		for _, k := range newFlagTable(&table).known {
			if k.section == "" || !k.inFile() || !rapid.Bool().Draw(t, "give "+k.name) {
				continue
			}
			var value any
			switch wanted(newFlagTable(&table).set.Lookup(k.name).Value) {
			case "true or false":
				value = rapid.Bool().Draw(t, k.name)
			case "a number", "a whole number, 0 or more":
				value = rapid.IntRange(0, 1<<40).Draw(t, k.name)
			case "a time such as 6h30m":
				value = fmt.Sprintf("%dms", rapid.IntRange(0, 1<<30).Draw(t, k.name))
			default:
				value = rapid.OneOf(rapid.StringMatching(`[ -~]*`), rapid.SampledFrom([]string{
					"off", "null", "~", "1e3", "2026-11-23", "a: b", "# c", "a,b", "http://[::1]:2379", "x\ny", "ä", "- a", " a ", "true",
				})).Draw(t, k.name)
			}
			if k.name == "name" { // a comma or white space around it would not survive in the initial cluster
				value = strings.TrimSpace(strings.ReplaceAll(value.(string), ",", ""))
			}
			args = append(args, fmt.Sprintf("--%s=%v", k.name, value))
		}
		c, _, err := parseConfig(args, nil)
		if err != nil {
			t.Fatal(err)
		}
		shown := show(t, c)
		if diff := sameSettings(c, readBack(t, path, shown)); diff != "" {
			t.Fatalf("%q\n%s\n(-want +got):\n%s", args, shown, diff)
		}
	})
}

// TestShownSources looks for where settings are said to come from.
func TestShownSources(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witan.yml")
	if err := os.WriteFile(path, []byte("name: a\ngroups: 4\nsnapshot-count: 7\n\ncors: [x, y]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := parse(t, []string{"--config-file", path, "--debug", "--groups=2"}, []string{"ETCD_SNAPSHOT_COUNT=9", "WITAN_EVENT_HISTORY=5"})
	lines := strings.Split(show(t, c), "\n")
	for _, want := range []string{
		"name: a # " + path + ":1",
		"data-dir: a.etcd # default, from name",
		"initial-cluster: a=http://localhost:2380 # default, this member alone",
		"groups: 2 # flag",
		"snapshot-count: 9 # ETCD_SNAPSHOT_COUNT",
		"event-history: 5 # WITAN_EVENT_HISTORY",
		"cors: x,y # " + path + ":5",
		"debug: true # flag",
		"log-level: debug # debug",
		`proxy: "off" # default`,
		"backup-interval: 24h0m0s # default",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}
