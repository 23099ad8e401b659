package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	rewrite     = flag.Bool("rewrite", false, "write what the story's commands print into testdata")
	storyServer = flag.String("story-server", "witan", "the `program` that plays the members; etcd shows what differs from it")
)

// TestStory plays the operations guide's story (contract §6.4, §6.5, appendix
// C) with etcd's own command line client: members that are set up by nothing
// but ETCD_* variables come, move and go. testdata/story.txt has all that is
// typed and printed, with names for addresses and ids.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("no etcdctl in PATH")
	}
	s := newStory(t)
	first := []string{"etcd_node1", "etcd_node2", "etcd_node3"}
	s.remark("Three members, by their environment alone.")
	for _, name := range first {
		s.start(name, s.founding(name, first)...)
	}
	s.ready(first...)
	s.rest()
	s.ctl("member", "list")
	s.ctl("cluster-health")
	s.ctl("set", "/story", "once upon a time")

	s.remark("A fourth is added, and is not there yet.")
	joining := s.settings(s.ctl("member", "add", "etcd_node4", s.node("etcd_node4").peer))
	s.ctl("member", "list")
	s.ctl("cluster-health")

	s.remark("It starts with the lines that \"member add\" has printed.")
	s.start("etcd_node4", append(s.places("etcd_node4"), joining...)...)
	s.ready("etcd_node4")
	s.ctl("member", "list")
	s.ctl("cluster-health")
	s.ctl("--endpoints", s.node("etcd_node4").client, "get", "/story")
	s.rest()
	s.ctl("member", "add", "etcd_node5", s.node("etcd_node2").peer)

	s.remark("It moves to another address; what it was once told about joining may stay.")
	s.move("etcd_node4")
	s.ctl("member", "update", s.id("etcd_node4"), s.node("etcd_node4").peer)
	s.ctl("member", "list")
	s.stop("etcd_node4")
	s.start("etcd_node4", append(s.places("etcd_node4"), joining...)...)
	s.ready("etcd_node4")
	s.ctl("cluster-health")

	s.remark("The first is removed, and ends. It does not come back.")
	gone := s.id("etcd_node1")
	s.ctl("member", "remove", "etcd_node1")
	s.ctl("member", "remove", gone)
	s.ends("etcd_node1")
	s.rest()
	s.ctl("member", "list")
	s.ctl("cluster-health")
	s.ctl("member", "remove", gone)
	s.start("etcd_node1", s.founding("etcd_node1", first)...)
	s.ends("etcd_node1")
	s.ctl("get", "/story")
	s.finish()
}

// story is the state of the test: the members, and what was typed and printed.
type story struct {
	t     *testing.T
	dir   string
	nodes map[string]*storyNode
	names map[string]string // for what differs from run to run, in the transcript
	out   strings.Builder
}

// storyNode is one member with its addresses.
type storyNode struct {
	client, local, peer string // URLs
	process             *exec.Cmd
	log                 bytes.Buffer // to be read when done is closed
	done                chan struct{}
}

func newStory(t *testing.T) *story {
	s := &story{t: t, dir: t.TempDir(), nodes: map[string]*storyNode{}, names: map[string]string{}}
	s.names[s.dir] = "DIR"
	for i, name := range []string{"etcd_node1", "etcd_node2", "etcd_node3", "etcd_node4"} {
		s.nodes[name] = &storyNode{
			client: s.address("10.0.0.%d:2379", i+1), local: s.address("127.0.0.1:2379", 0), peer: s.address("10.0.0.%d:2380", i+1),
		}
	}
	return s
}

// address finds an address for a member and gives it a name in the transcript.
func (s *story) address(format string, i int) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	name := format
	if i > 0 {
		name = fmt.Sprintf(format, i)
	}
	s.names[l.Addr().String()] = name
	return "http://" + l.Addr().String()
}

func (s *story) node(name string) *storyNode { return s.nodes[name] }

func (s *story) remark(text string) { fmt.Fprintf(&s.out, "\n# %s\n", text) }

// founding returns the settings of one of the first members as its environment
// file has them: with remarks, which are not meant to be there.
func (s *story) founding(name string, all []string) []string {
	var members []string
	for _, other := range all {
		members = append(members, other+"="+s.node(other).peer)
	}
	return append([]string{"ETCD_NAME=" + name + "  // differs on every host"}, append(s.places(name),
		"ETCD_INITIAL_CLUSTER="+strings.Join(members, ","),
		"ETCD_INITIAL_CLUSTER_STATE=new\t// existing when it is started again",
		"ETCD_INITIAL_CLUSTER_TOKEN=story",
	)...)
}

// places returns the settings that say where a member is.
func (s *story) places(name string) []string {
	n := s.node(name)
	return []string{
		"ETCD_DATA_DIR=" + filepath.Join(s.dir, name),
		"ETCD_LISTEN_PEER_URLS=" + n.peer,
		"ETCD_LISTEN_CLIENT_URLS=" + n.client + "," + n.local + "  // the second one for etcdctl on this host",
		"ETCD_INITIAL_ADVERTISE_PEER_URLS=" + n.peer,
		"ETCD_ADVERTISE_CLIENT_URLS=" + n.client,
	}
}

// start starts a member with nothing but these settings.
func (s *story) start(name string, env ...string) {
	s.t.Helper()
	fmt.Fprintf(&s.out, "%s starts:\n", name)
	for _, line := range env {
		fmt.Fprintln(&s.out, "  "+byName(s.masked(line)))
	}
	n := s.node(name)
	n.done = make(chan struct{})
	n.log.Reset()
	n.process = exec.Command(*storyServer)
	n.process.Env = append(env, "PATH="+os.Getenv("PATH"), "GOCOVERDIR="+os.Getenv("GOCOVERDIR"))
	if *storyServer != "witan" { // it knows neither remarks nor v2 by itself
		for i, line := range n.process.Env {
			n.process.Env[i] = remarks.ReplaceAllString(line, "")
		}
		n.process.Env = append(n.process.Env, "ETCD_ENABLE_V2=true", "ETCD_HEARTBEAT_INTERVAL=100")
	}
	n.process.Stdout, n.process.Stderr = &n.log, &n.log
	if err := n.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(p *exec.Cmd, done chan struct{}) {
		_ = p.Wait() // ends looks at ProcessState
		close(done)
	}(n.process, n.done)
	s.t.Cleanup(func() {
		_ = n.process.Process.Kill() // it may have ended long ago
		<-n.done
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", name, n.log.String())
		}
	})
}

// ready waits until members answer quorum reads, and learns their ids.
func (s *story) ready(names ...string) {
	s.t.Helper()
	for _, name := range names {
		n := s.node(name)
		s.eventually(name+" serves clients", func() bool {
			select {
			case <-n.done:
				s.t.Fatalf("%s has ended: %v", name, n.process.ProcessState)
			default:
			}
			return s.answers(n.local + "/v2/keys/?quorum=true")
		})
	}
	s.learn()
}

func (s *story) answers(url string) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

// rest waits until etcd believes that its members are connected for good.
func (s *story) rest() {
	if *storyServer != "witan" {
		time.Sleep(7 * time.Second)
	}
}

// learn gives the ids of all members names.
func (s *story) learn() {
	s.t.Helper()
	_, body := get(s.t, s.node("etcd_node2").client+"/v2/members")
	var list struct {
		Members []struct {
			ID       string
			PeerURLs []string
		}
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		s.t.Fatalf("%v: %s", err, body)
	}
	for _, m := range list.Members {
		for name, n := range s.nodes {
			if slices.Contains(m.PeerURLs, n.peer) {
				s.names[m.ID] = "ID-OF-" + strings.TrimPrefix(name, "etcd_")
			}
		}
	}
}

// id returns the id of a member.
func (s *story) id(name string) string {
	for id, known := range s.names {
		if known == "ID-OF-"+strings.TrimPrefix(name, "etcd_") {
			return id
		}
	}
	s.t.Fatalf("the id of %s is not known", name)
	return ""
}

// move finds another address for a member's peers.
func (s *story) move(name string) {
	n := s.node(name)
	n.peer = s.address("10.0.0.%d:2380", len(s.nodes)+5)
}

// ctl runs etcdctl, writes down what it prints and returns that.
func (s *story) ctl(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ctl := exec.CommandContext(ctx, "etcdctl", args...)
	ctl.Env = []string{"ETCDCTL_API=2", "ETCDCTL_ENDPOINTS=" + s.node("etcd_node2").client + "," + s.node("etcd_node3").client}
	out, err := ctl.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("etcdctl: %v", err)
	}
	s.learn()
	fmt.Fprintf(&s.out, "$ etcdctl %s\n%s", s.masked(strings.Join(args, " ")), s.sorted(string(out)))
	if err != nil {
		fmt.Fprintf(&s.out, "(%v)\n", err)
	}
	return string(out)
}

// settings returns the environment that "member add" prints, as the shell or
// systemd read it.
func (s *story) settings(printed string) []string {
	s.t.Helper()
	var env []string
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "ETCD_") {
			env = append(env, strings.ReplaceAll(strings.TrimSpace(line), `"`, ""))
		}
	}
	if len(env) != 3 {
		s.t.Fatalf("etcdctl printed %d settings, not 3:\n%s", len(env), printed)
	}
	return env
}

// stop stops a member in order.
func (s *story) stop(name string) {
	s.t.Helper()
	n := s.node(name)
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.await(name)
	fmt.Fprintf(&s.out, "%s is stopped\n", name)
}

// ends waits until a member ends by itself, and writes down how, and what it
// says of having been removed.
func (s *story) ends(name string) {
	s.t.Helper()
	s.await(name)
	n := s.node(name)
	fmt.Fprintf(&s.out, "%s ends: %v\n", name, n.process.ProcessState)
	for line := range strings.Lines(n.log.String()) {
		var entry struct{ Message, Error string }
		if strings.Contains(line, "removed from the cluster") && json.Unmarshal([]byte(line), &entry) == nil {
			fmt.Fprintln(&s.out, "  "+s.masked(strings.TrimSpace(entry.Message+" "+entry.Error)))
		}
	}
}

func (s *story) await(name string) {
	s.t.Helper()
	select {
	case <-s.node(name).done:
	case <-time.After(patience):
		s.t.Fatalf("%s still runs", name)
	}
}

func (s *story) eventually(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited too long until %s", what)
		}
	}
}

// masked puts names for what differs from run to run.
func (s *story) masked(text string) string {
	for known, name := range s.names {
		text = strings.ReplaceAll(text, known, name)
	}
	return text
}

var (
	remarks = regexp.MustCompile(`\s+//.*`)
	leads   = regexp.MustCompile(`isLeader=(true|false)`)
)

// sorted masks what etcdctl printed and puts in order what it lists by id. One
// member of a list leads, whichever it is.
func (s *story) sorted(printed string) string {
	s.t.Helper()
	if leads.MatchString(printed) && strings.Count(printed, "isLeader=true") != 1 {
		s.t.Errorf("not one leader:\n%s", printed)
	}
	lines := strings.SplitAfter(leads.ReplaceAllString(s.masked(printed), "isLeader=..."), "\n")
	listed := func(line string) bool { return strings.HasPrefix(line, "member ") || strings.HasPrefix(line, "ID-OF-") }
	slices.Sort(lines[:slices.IndexFunc(lines, func(line string) bool { return !listed(line) })])
	for i, line := range lines {
		lines[i] = byName(line)
	}
	return strings.Join(lines, "")
}

// byName puts the members of a setting in order, which is that of their ids.
func byName(line string) string {
	name, list, ok := strings.Cut(line, "ETCD_INITIAL_CLUSTER=")
	if !ok {
		return line
	}
	bare := strings.Trim(list, "\"\n")
	members := strings.Split(bare, ",")
	slices.Sort(members)
	return name + "ETCD_INITIAL_CLUSTER=" + strings.Replace(list, bare, strings.Join(members, ","), 1)
}

// finish compares the transcript with the one in testdata.
func (s *story) finish() {
	s.t.Helper()
	const file = "testdata/story.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(s.out.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(s.out.String(), "\n")); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
