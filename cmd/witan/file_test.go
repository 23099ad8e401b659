package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeFile makes a configuration file in the current directory.
func writeFile(t *testing.T, content string) {
	t.Helper()
	if err := os.WriteFile("witan.yml", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFilePrecedence sets the name in every place but the strongest so far.
func TestFilePrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "name: file\n")
	fromFile := []string{"--config-file", "witan.yml"}
	for _, tt := range []struct {
		name      string
		args, env []string
		want      string
	}{
		{"default", nil, nil, "default"},
		{"file", fromFile, nil, "file"},
		{"file named by etcd's variable", nil, []string{"ETCD_CONFIG_FILE=witan.yml"}, "file"},
		{"file named by our variable", nil, []string{"WITAN_CONFIG_FILE=witan.yml", "ETCD_CONFIG_FILE=none"}, "file"},
		{"etcd's variable", fromFile, []string{"ETCD_NAME=etcd"}, "etcd"},
		{"our variable", fromFile, []string{"ETCD_NAME=etcd", "WITAN_NAME=own"}, "own"},
		{"flag", append(fromFile, "--name=flag"), []string{"ETCD_NAME=etcd", "WITAN_NAME=own"}, "flag"},
		{"a flag that says the default", append(fromFile, "--name=default"), nil, "default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, _ := parse(t, tt.args, tt.env); c.Name != tt.want {
				t.Errorf("name = %q, want %q", c.Name, tt.want)
			}
		})
	}
}

// TestFileForms writes the same settings in different ways.
func TestFileForms(t *testing.T) {
	t.Chdir(t.TempDir())
	want, _ := parse(t, []string{
		"--name=1", "--debug", "--heartbeat-interval=100", "--listen-client-urls=http://a:1,http://b:2", "--backup-interval=1h",
		"--advertise-client-urls=http://a:1", "--strict-reconfig-check=false", "--proxy=off",
	}, nil)
	for name, content := range map[string]string{
		"lists": `
name: 1
debug: true
heartbeat-interval: 100
listen-client-urls: [http://a:1, "http://b:2"]
advertise-client-urls:
- http://a:1
strict-reconfig-check: false
proxy: off
backup-interval: 1h`,
		"text": `
name: "1"
debug: 'true'
heartbeat-interval: '100'
listen-client-urls: http://a:1,http://b:2
advertise-client-urls: http://a:1
strict-reconfig-check: "false"
proxy: "off"
backup-interval: 60m`,
		"nothing said": `
# null leaves a setting alone
name: 1
data-dir:
initial-cluster: ~
initial-cluster-token: null
peer-transport-security:
debug: True
listen-client-urls: &urls [http://a:1, http://b:2]
advertise-client-urls: http://a:1
strict-reconfig-check: FALSE
backup-interval: 3600s`,
		"JSON": `{"name": "1", "debug": true, "heartbeat-interval": 100, "listen-client-urls": ["http://a:1", "http://b:2"],
"advertise-client-urls": "http://a:1", "strict-reconfig-check": false, "backup-interval": "1h"}`,
		"alias": `
name: 1
debug: true
listen-client-urls: [&a http://a:1, http://b:2]
advertise-client-urls: *a
strict-reconfig-check: false
backup-interval: 1h0m`,
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, content)
			c, notes := parse(t, []string{"--config-file=witan.yml"}, nil)
			if diff := sameSettings(want, c); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(notes) > 0 {
				t.Errorf("notes %q", notes)
			}
			if err := c.validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEmptyFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	want, _ := parse(t, nil, nil)
	for _, content := range []string{"", "\n", "# nothing\n", "---\n", "~", "{}"} {
		writeFile(t, content)
		c, _ := parse(t, []string{"--config-file=witan.yml"}, nil)
		if diff := sameSettings(want, c); diff != "" {
			t.Errorf("%q (-want +got):\n%s", content, diff)
		}
	}
}

func TestFileFaults(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		name, content string
		want          []string
	}{
		{"unknown", "name: a\nlisten-client-url: http://h:1\nshards: 3\n", []string{
			`witan.yml:2: no setting is called "listen-client-url"; did you mean listen-client-urls?`,
			`witan.yml:3: no setting is called "shards"`,
		}},
		{"a flag with its dashes", "--name: a\n", []string{`witan.yml:1: no setting is called "--name"; did you mean name?`}},
		{"types", "snapshot-count: often\nheartbeat-interval: -1\ngroups: 1.5\ndebug: yes\nbackup-interval: 3\nmax-wals: many\n", []string{
			`witan.yml:1: snapshot-count: "often" is not a whole number, 0 or more`,
			`witan.yml:2: heartbeat-interval: "-1" is not a whole number, 0 or more`,
			`witan.yml:3: groups: "1.5" is not a number`,
			`witan.yml:4: debug: "yes" is not true or false`,
			`witan.yml:5: backup-interval: "3" is not a time such as 6h30m`,
			`witan.yml:6: max-wals: "many" is not a number`,
		}},
		{"shapes", "name: [a, b]\ntoken: x\ninitial-cluster:\n  a: http://h:1\nlisten-peer-urls:\n- http://h:1\n-\n- [b]\n", []string{
			`witan.yml:1: name: there is a list where a single value should be`,
			`witan.yml:2: no setting is called "token"`,
			`witan.yml:3: initial-cluster: there is a block of settings where a value should be`,
			`witan.yml:5: listen-peer-urls: the item in line 7 is not a single value`,
		}},
		{"twice", "name: a\nname: b\npeer-cert-file: a\npeer-transport-security:\n  cert-file: b\n", []string{
			`witan.yml:2: name is set twice; the first time in line 1`,
			`witan.yml:5: cert-file is set twice; the first time in line 3`,
		}},
		{"blocks", "client-transport-security: on\npeer-transport-security:\n  certfile: x\n  client-cert-auth: maybe\n  name: a\n", []string{
			`witan.yml:1: client-transport-security is a block of settings; write them below it, one a line`,
			`witan.yml:3: no setting of peer-transport-security is called "certfile"; did you mean cert-file?`,
			`witan.yml:4: client-cert-auth: "maybe" is not true or false`,
			`witan.yml:5: no setting of peer-transport-security is called "name"`,
		}},
		{"not for files", "version: true\nhelp: true\nprint-config: true\nconfig-file: x\n", []string{
			`witan.yml:1: version cannot be set in a file`,
			`witan.yml:2: help cannot be set in a file`,
			`witan.yml:3: print-config cannot be set in a file`,
			`witan.yml:4: config-file cannot be set in a file`,
		}},
		{"a list", "- name: a\n", []string{"witan.yml:1: there are no settings; write NAME: VALUE, one a line"}},
		{"two documents", "name: a\n---\nname: b\n", []string{"witan.yml:2: there is a second document; a configuration file has one"}},
		{"not YAML", "name: a\n\tdebug: true\n", []string{"witan.yml:2: this is not YAML: found a tab character that violates indentation"}},
		{"not YAML after the settings", "name: a\n---\n}\n", []string{"witan.yml:3: this is not YAML: did not find expected node content"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeFile(t, tt.content)
			_, _, err := parseConfig([]string{"--config-file", "witan.yml"}, nil)
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilesThatCannotBeRead expects the way the file was named in the message.
func TestFilesThatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		args, env []string
		want      string
	}{
		{[]string{"--config-file=none"}, nil, "--config-file: open none: no such file or directory"},
		{nil, []string{"WITAN_CONFIG_FILE=none"}, "WITAN_CONFIG_FILE: open none: no such file or directory"},
		{nil, []string{"ETCD_CONFIG_FILE=."}, "ETCD_CONFIG_FILE: read .: is a directory"},
	} {
		if _, _, err := parseConfig(tt.args, tt.env); err == nil || err.Error() != tt.want {
			t.Errorf("%q %q: got %v, want %s", tt.args, tt.env, err, tt.want)
		}
	}
}

// TestEveryFlagCanBeInAFile also says that what does nothing is noted there, too.
func TestEveryFlagCanBeInAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	value := map[string]string{"true or false": "true", "a number": "1", "a whole number, 0 or more": "1", "a time such as 6h30m": "1h"}
	var table config
	for _, k := range newFlagTable(&table).known {
		if !k.inFile() {
			continue
		}
		v := value[wanted(newFlagTable(&table).set.Lookup(k.name).Value)]
		if v == "" {
			v = "x"
		}
		writeFile(t, k.name+": "+v+"\n")
		c, notes := parse(t, []string{"--config-file=witan.yml"}, nil)
		if c.given[k.name] != "witan.yml:1" {
			t.Errorf("%s: from %q", k.name, c.given[k.name])
		}
		if k.note != "" && (len(notes) != 1 || notes[0] != k.note) {
			t.Errorf("%s: notes %q", k.name, notes)
		}
	}
	for block, flags := range securityBlocks() {
		for key, name := range flags {
			writeFile(t, block+":\n  "+key+": true\n")
			if c, _ := parse(t, []string{"--config-file=witan.yml"}, nil); c.given[name] != "witan.yml:2" {
				t.Errorf("%s.%s: from %q", block, key, c.given[name])
			}
		}
	}
}

// TestFileOfEtcd reads a file with every key of the sample that comes with
// etcd 3.4, at the values it has there.
func TestFileOfEtcd(t *testing.T) {
	path, err := filepath.Abs("testdata/etcd.conf.yml")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	c, _ := parse(t, []string{"--config-file", path}, nil)
	if err := c.validate(); err != nil {
		t.Error(err)
	}
	if err := c.validateStart(); err != nil {
		t.Error(err)
	}
	want, _ := parse(t, []string{"--strict-reconfig-check=false"}, nil)
	c.peers = nil // what validate makes of the initial cluster
	if diff := sameSettings(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
