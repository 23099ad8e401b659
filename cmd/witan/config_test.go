package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/cluster"
)

// parse reads a command line that must be well formed.
func parse(t *testing.T, args, env []string) (config, []string) {
	t.Helper()
	c, notes, err := parseConfig(args, env)
	if err != nil {
		t.Fatalf("parseConfig(%q, %q): %v", args, env, err)
	}
	return c, notes
}

func TestDefaultsAreValid(t *testing.T) {
	t.Chdir(t.TempDir())
	c, notes := parse(t, nil, nil)
	if err := c.validate(); err != nil {
		t.Errorf("validate: %v", err)
	}
	if err := c.validateStart(); err != nil {
		t.Errorf("validateStart: %v", err)
	}
	if len(notes) > 0 {
		t.Errorf("notes: %q", notes)
	}
	if want := "default.etcd"; c.DataDir != want {
		t.Errorf("data directory %q, want %q", c.DataDir, want)
	}
	want := []cluster.Peer{{Name: "default", URLs: []string{"http://localhost:2380"}}}
	if diff := cmp.Diff(want, c.peers); diff != "" {
		t.Errorf("initial cluster (-want +got):\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want string
	}{
		{"default", nil, nil, "default"},
		{"etcd variable", nil, []string{"ETCD_NAME=etcd"}, "etcd"},
		{"own variable wins", nil, []string{"ETCD_NAME=etcd", "WITAN_NAME=own"}, "own"},
		{"whatever the order", nil, []string{"WITAN_NAME=own", "ETCD_NAME=etcd"}, "own"},
		{"flag wins", []string{"--name", "flag"}, []string{"ETCD_NAME=etcd", "WITAN_NAME=own"}, "flag"},
		{"flag wins though it says the default", []string{"--name=default"}, []string{"ETCD_NAME=etcd"}, "default"},
		{"one dash", []string{"-name", "flag"}, nil, "flag"},
		{"the last one wins", []string{"-name=a", "--name", "b"}, nil, "b"},
		{"empty variable is unset", nil, []string{"ETCD_NAME=etcd", "WITAN_NAME="}, "etcd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, _ := parse(t, tt.args, tt.env); c.Name != tt.want {
				t.Errorf("name = %q, want %q", c.Name, tt.want)
			}
		})
	}
}

func TestListFlagReplacesItself(t *testing.T) {
	c, _ := parse(t, []string{
		"--listen-peer-urls=http://a:1", "--listen-peer-urls", " http://b:2, http://c:3,",
	}, []string{"ETCD_LISTEN_PEER_URLS=http://d:4"})
	if diff := cmp.Diff(stringList{"http://b:2", "http://c:3"}, c.ListenPeer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDerivedSettings(t *testing.T) {
	c, _ := parse(t, []string{"--debug"}, []string{
		"ETCD_NAME=infra1", "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.1:2380,http://10.0.0.1:7001",
	})
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	want := []cluster.Peer{{Name: "infra1", URLs: []string{"http://10.0.0.1:2380", "http://10.0.0.1:7001"}}}
	if diff := cmp.Diff(want, c.peers); diff != "" {
		t.Errorf("initial cluster (-want +got):\n%s", diff)
	}
	if c.DataDir != "infra1.etcd" || c.LogLevel != "debug" {
		t.Errorf("data directory %q, level %q", c.DataDir, c.LogLevel)
	}
}

func TestOwnFlagsHaveNoEtcdVariable(t *testing.T) {
	c, notes := parse(t, nil, []string{"ETCD_GROUPS=9", "WITAN_GROUPS=4", "WITAN_EVENT_HISTORY=7", "WITAN_MAX_VALUE_BYTES=8"})
	if c.Groups != 4 || c.EventHistory != 7 || c.MaxValueBytes != 8 {
		t.Errorf("groups %d, history %d, value bytes %d", c.Groups, c.EventHistory, c.MaxValueBytes)
	}
	if diff := cmp.Diff([]string{"environment variable ETCD_GROUPS is not known and has no effect; did you mean WITAN_GROUPS?"}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestUnknownVariablesAreNoted(t *testing.T) {
	_, notes := parse(t, nil, []string{"ETCD_PORT=2379", "ETCDCTL_API=2", "WITAN_SHARDS=x", "HOME=/", "ETCD_EMPTY="})
	want := []string{
		"environment variable ETCD_PORT is not known and has no effect",
		"environment variable WITAN_SHARDS is not known and has no effect",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestIgnoredFlags sets every flag without a feature, as a flag and as a
// variable, and expects one line about it.
func TestIgnoredFlags(t *testing.T) {
	value := map[kind]string{text: "x", number: "1", boolean: "true", anything: "x"}
	for _, f := range ignoredFlags() {
		variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(f.name, "-", "_")) + "=" + value[f.kind]
		for _, in := range [][2][]string{
			{{"--" + f.name + "=" + value[f.kind]}, nil},
			{{"-" + f.name + "=" + value[f.kind]}, nil},
			{nil, {variable}},
		} {
			c, notes := parse(t, in[0], in[1])
			if err := c.validate(); err != nil {
				t.Errorf("%q: %v", in, err)
			}
			if len(notes) != 1 || !strings.HasPrefix(notes[0], "flag --"+f.name+" is accepted but has no effect") {
				t.Errorf("%q: notes %q", in, notes)
			}
		}
	}
}

func TestBooleansNeedNoValue(t *testing.T) {
	_, notes := parse(t, []string{"--strict-reconfig-check", "--enable-v2", "-vv", "--name", "a"}, nil)
	if len(notes) != 1 { // only -vv has something to say
		t.Errorf("notes %q", notes)
	}
}

// TestEveryEtcdFlagIsKnown compares with the flags that etcd 3.4.23 prints in
// its help and with those of 2.3 (contract §5.2).
func TestEveryEtcdFlagIsKnown(t *testing.T) {
	names, err := os.ReadFile("testdata/etcd-flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := defaultConfig()
	table := newFlagTable(&c)
	for name := range strings.FieldsSeq(string(names)) {
		if table.set.Lookup(name) == nil {
			t.Errorf("--%s is not known", name)
		}
	}
}

func TestFaults(t *testing.T) {
	const alone = "a=http://h:1"
	for _, tt := range []struct {
		name string
		args string
		want []string
	}{
		{"name", "--name= --data-dir d --initial-cluster " + alone, []string{
			`--name: "" is empty; give it a value`,
			`couldn't find local name "" in the initial cluster configuration; add =http://localhost:2380 to --initial-cluster or change --name`,
		}},
		{"timing", "--heartbeat-interval 300", []string{
			"--election-timeout (1000 ms) must be at least five times --heartbeat-interval (300 ms)",
		}},
		{"slow election", "--election-timeout 50001", []string{"--election-timeout: 50001 is too large; the most is 50000"}},
		{"no heartbeat", "--heartbeat-interval 0", []string{"--heartbeat-interval: 0 is too small; the least is 1"}},
		{"snapshots", "--snapshot-count 0", []string{"--snapshot-count: 0 is too small; the least is 1"}},
		{"no groups", "--groups 0", []string{"--groups: 0 is too small; the least is 1"}},
		{"many groups", "--groups 65", []string{"--groups: 65 is too large; the most is 64"}},
		{"history", "--event-history 0", []string{"--event-history: 0 is too small; the least is 1"}},
		{"value", "--max-value-bytes 10485761", []string{"--max-value-bytes: 10485761 is too large; the most is 10485760"}},
		{"token", "--initial-cluster-token=", []string{`--initial-cluster-token: "" is empty; give it a value`}},
		{"advertise", "--listen-client-urls http://127.0.0.1:1", []string{
			"--advertise-client-urls is required when --listen-client-urls is set: clients must be told how to reach this member",
		}},
		{"no URL", "--listen-peer-urls=,", []string{"--listen-peer-urls: no URL given; write http://HOST:PORT"}},
		{"https", "--listen-peer-urls https://h:1", []string{
			"--listen-peer-urls: https://h:1: https needs certificates, which witan cannot use yet; write http://",
		}},
		{"unix", "--listen-peer-urls unix://h:1", []string{"--listen-peer-urls: unix://h:1: only http is served; write http://HOST:PORT"}},
		{"no scheme", "--listen-peer-urls 127.0.0.1:1", []string{`--listen-peer-urls: "127.0.0.1:1" is not a URL; write http://HOST:PORT`}},
		{"path", "--listen-peer-urls http://h:1/", []string{"--listen-peer-urls: http://h:1/: there must be nothing but http://HOST:PORT"}},
		{"no port", "--listen-peer-urls http://h", []string{"--listen-peer-urls: http://h: the port is missing; write http://HOST:PORT"}},
		{"bad port", "--listen-peer-urls http://h:70000", []string{
			"--listen-peer-urls: http://h:70000: 70000 is not a port; ports go from 1 to 65535",
		}},
		{"no host to go to", "--advertise-client-urls http://:1", []string{
			"--advertise-client-urls: http://:1: others need to know the host; write http://HOST:PORT",
		}},
		{"same URL twice", "--listen-peer-urls http://h:1,http://h:1", []string{"--listen-peer-urls: http://h:1 is there twice; remove one"}},
		{"malformed cluster", "--initial-cluster http://h:1", []string{
			`--initial-cluster: "http://h:1" does not name a member; write NAME=http://HOST:PORT`,
		}},
		{"not in the cluster", "--name b --initial-cluster " + alone, []string{
			`couldn't find local name "b" in the initial cluster configuration; add b=http://localhost:2380 to --initial-cluster or change --name`,
		}},
		{"own URL differs", "--name a --initial-cluster " + alone + " --initial-advertise-peer-urls http://g:1", []string{
			"--initial-cluster must include a=http://g:1 given --initial-advertise-peer-urls=http://g:1",
		}},
		{"duplicate in cluster", "--name a --initial-cluster a=http://h:1,b=http://h:1 --initial-advertise-peer-urls http://h:1", []string{
			"--initial-cluster: duplicate URL http://h:1; every member needs its own",
		}},
		{"URL in cluster", "--name a --initial-cluster a=http://h:1,b=https://h:2 --initial-advertise-peer-urls http://h:1", []string{
			"--initial-cluster: https://h:2: https needs certificates, which witan cannot use yet; write http://",
		}},
		{"two ways to start", "--discovery http://d:1/x --initial-cluster default=http://localhost:2380", []string{
			"--initial-cluster, --discovery and --discovery-srv exclude each other; set one of them",
		}},
		{"three ways to start", "--discovery http://d:1/x --discovery-srv example.com --initial-cluster default=http://localhost:2380", []string{
			"--initial-cluster, --discovery and --discovery-srv exclude each other; set one of them",
		}},
		{"fallback", "--discovery-fallback wait", []string{`--discovery-fallback: "wait" is not one of: proxy, exit`}},
		{"proxy", "--proxy yes", []string{`--proxy: "yes" is not one of: off, on, readonly`}},
		{"refresh", "--proxy-refresh-interval 0", []string{"--proxy-refresh-interval: 0 is too small; the least is 1"}},
		{"state", "--initial-cluster-state maybe", []string{`--initial-cluster-state: "maybe" is not one of: new, existing, auto`}},
		{"short backup interval", "--backup-interval 5ms", []string{"--backup-interval: 5ms is too short; the least is 1s, and 0 is for none"}},
		{"backup interval before now", "--backup-interval -1h", []string{"--backup-interval: -1h0m0s is too short; the least is 1s, and 0 is for none"}},
		{"keeping no backup", "--backup-keep 0", []string{"--backup-keep: 0 is too small; the least is 1"}},
		{"port 0", "--advertise-client-urls http://h:0", []string{
			"--advertise-client-urls: http://h:0: others cannot connect to port 0; write the port this member listens on",
		}},
		{"zone", "--advertise-client-urls http://[fe80::1%25eth0]:1", []string{
			"--advertise-client-urls: http://[fe80::1%25eth0]:1: the zone of an address means nothing on other machines; use an address without one",
		}},
		{"peers", "--peers p --peers-file f", []string{
			"--peers is no longer supported; use --initial-cluster",
			"--peers-file is no longer supported; use --initial-cluster",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			c, _ := parse(t, strings.Fields(tt.args), nil)
			var got []string
			for _, err := range []error{c.validate(), c.validateStart()} {
				if err != nil {
					got = append(got, strings.Split(err.Error(), "\n")...)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestStartWithData says that flags for a first start are not looked at when
// the member has data.
func TestStartWithData(t *testing.T) {
	t.Chdir(t.TempDir())
	touch(t, "default.etcd/identity.json")
	for _, args := range []string{
		"--initial-cluster-state existing",
		"--initial-cluster other=http://h:1",
		"--discovery http://d:1/x",
	} {
		c, _ := parse(t, strings.Fields(args), nil)
		if err := c.validate(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if err := c.validateStart(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestGatewayNeedsLess starts without what only members need.
func TestGatewayNeedsLess(t *testing.T) {
	t.Chdir(t.TempDir())
	c, _ := parse(t, strings.Fields("--proxy on --listen-client-urls http://0.0.0.0:1 --initial-cluster a=http://h:1,b=http://h:2"), nil)
	if err := c.validate(); err != nil {
		t.Error(err)
	}
	if err := c.validateStart(); err != nil {
		t.Error(err)
	}
	touch(t, "default.etcd/proxy/cluster")
	again, _ := parse(t, strings.Fields("--listen-client-urls http://0.0.0.0:1"), nil)
	if err := again.validateStart(); err != nil {
		t.Error(err)
	}
	if !again.isGateway() {
		t.Error("a gateway's directory does not make a gateway")
	}
}

// TestDiscoveryNeedsNoCluster expects no list of members where one is to be found.
func TestDiscoveryNeedsNoCluster(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{"--discovery http://d:1/x", "--discovery-srv example.com"} {
		c, _ := parse(t, strings.Fields(args), nil)
		if err := c.validate(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if err := c.validateStart(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if len(c.peers) > 0 {
			t.Errorf("%s: members %v", args, c.peers)
		}
	}
}

// TestDoubts warns of what is allowed and seldom meant.
func TestDoubts(t *testing.T) {
	_, notes := parse(t, strings.Fields("--replace-lost-self --advertise-client-urls http://0.0.0.0:2379,http://10.0.0.1:2379 --initial-advertise-peer-urls http://[::]:2380"), nil)
	want := []string{
		"--advertise-client-urls: to whoever reads it, http://0.0.0.0:2379 means their own machine; write the address they reach this one by",
		"--initial-advertise-peer-urls: to whoever reads it, http://[::]:2380 means their own machine; write the address they reach this one by",
		"flag --replace-lost-self has no effect without --initial-cluster-state=auto",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, notes := parse(t, strings.Fields("--replace-lost-self --initial-cluster-state auto"), nil); len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
}

func TestStartBesideEtcdData(t *testing.T) {
	t.Chdir(t.TempDir())
	touch(t, "default.etcd/member/wal/0.wal")
	const want = "--data-dir: default.etcd/member/wal is data of etcd, which witan cannot read; choose another directory"
	for _, args := range [][]string{nil, {"--proxy=on"}} {
		c, _ := parse(t, args, nil)
		if err := c.validateStart(); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
}
