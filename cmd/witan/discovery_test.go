package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/witan-kv/witan/cluster"
)

// startEtcd starts etcd 3.4 with a fresh data directory, or skips the test.
func startEtcd(t *testing.T, client string, flags ...string) {
	t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	var log bytes.Buffer
	cmd := exec.Command(path, append([]string{
		"--enable-v2", "--data-dir", t.TempDir(), "--listen-client-urls", client, "--advertise-client-urls", client,
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended long ago
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of etcd %v:\n%s", flags, log.String())
		}
	})
}

// peerFlags are the flags of a member with this name at a free address.
func peerFlags(t *testing.T, name string) []string {
	t.Helper()
	peer := freeURL(t)
	return []string{"--name", name, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer}
}

// clientFlags are the flags of a member that clients find where it says it is.
func clientFlags(t *testing.T) []string {
	t.Helper()
	client := freeURL(t)
	return []string{"--listen-client-urls", client, "--advertise-client-urls", client}
}

// newToken tells a discovery service how many members there will be and returns
// the URL they need.
func newToken(t *testing.T, service, size string) string {
	t.Helper()
	if code, body := put(t, service, "/_etcd/registry/token/_config/size", size); code != http.StatusCreated {
		t.Fatalf("PUT the size: %d %s", code, body)
	}
	return service + "/v2/keys/_etcd/registry/token"
}

// tryGet is get for a server that may not have started.
func tryGet(t *testing.T, u string) (body string, ok bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return b.String(), err == nil && resp.StatusCode == http.StatusOK
}

// checkCluster writes through each member and reads it through all, once they
// have come together, and wants each to list them all.
func checkCluster(t *testing.T, clients []string) {
	t.Helper()
	for _, c := range clients {
		eventually(t, c+" answers", func() bool { _, ok := tryGet(t, c+"/v2/keys/?quorum=true"); return ok })
	}
	for i, c := range clients {
		key := "/written" + string(rune('0'+i))
		if code, body := put(t, c, key, c); code/100 != 2 {
			t.Fatalf("PUT through %s: %d %s", c, code, body)
		}
		for _, other := range clients {
			if code, body := get(t, other+"/v2/keys"+key+"?quorum=true"); code != http.StatusOK || !strings.Contains(body, `"value":"`+c+`"`) {
				t.Errorf("GET through %s: %d %s", other, code, body)
			}
		}
		var list struct{ Members []json.RawMessage }
		_, body := get(t, c+"/v2/members")
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Members) != len(clients) {
			t.Errorf("%s lists %s", c, body)
		}
	}
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestEtcdThroughWitan makes a cluster of etcd 3.4 with a witan as its
// discovery service.
func TestEtcdThroughWitan(t *testing.T) {
	for _, groups := range []string{"1", "4"} {
		t.Run(groups, func(t *testing.T) {
			service := startProcess(t, t.TempDir(), "--groups", groups)
			u := newToken(t, service.url, "3")
			var clients []string
			for _, name := range []string{"a", "b", "c"} {
				client := freeURL(t)
				startEtcd(t, client, append(peerFlags(t, name), "--discovery", u)...)
				clients = append(clients, client)
			}
			checkCluster(t, clients)
		})
	}
}

// TestWitanThroughEtcd makes a cluster of witans with etcd 3.4 as their
// discovery service, and expects the ids that etcd would give.
func TestWitanThroughEtcd(t *testing.T) {
	service := freeURL(t)
	peer := freeURL(t)
	startEtcd(t, service, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	eventually(t, "etcd answers", func() bool { _, ok := tryGet(t, service+"/health"); return ok })
	u := newToken(t, service, "3")
	var members []*process
	for _, name := range []string{"a", "b", "c"} {
		members = append(members, launch(t, t.TempDir(), append(peerFlags(t, name), "--discovery", u)...))
	}
	checkCluster(t, ready(t, members))
	for _, m := range members {
		own := m.cmd.Args[len(m.cmd.Args)-3]
		if want := discoveredID(own, u); !strings.Contains(m.logged(), `"member":"`+want+`"`) {
			t.Errorf("the member at %s is not %s", own, want)
		}
	}
}

// ready waits for members and returns their client URLs.
func ready(t *testing.T, members []*process) []string {
	t.Helper()
	urls := make([]string, len(members))
	for i, m := range members {
		m.await(t)
		urls[i] = m.url
	}
	return urls
}

// TestWitanThroughWitan lets members find each other through another one, by
// the commands of docs/discovery.md. One of them is killed when it has
// registered, comes back and is still one of the three. Whoever comes later ends
// or becomes a gateway.
func TestWitanThroughWitan(t *testing.T) {
	const page = "../../docs/discovery.md"
	const shown = "http://127.0.0.1:2379"
	service := startProcess(t, t.TempDir())
	run := examples(t, page)
	if len(run) != 2 {
		t.Fatalf("%d examples, want that of the size and that of the list", len(run))
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "--discovery "+shown)
	if !ok {
		t.Fatalf("%s does not say how to start a member", page)
	}
	u := service.url + strings.Fields(rest)[0]
	runExample(t, run[0], shown, service.url)

	flagsOf := func(name string) []string {
		return slices.Concat(peerFlags(t, name), clientFlags(t), []string{"--discovery", u})
	}
	dir, flags := t.TempDir(), flagsOf("infra0")
	first := launch(t, dir, flags...)
	eventually(t, "the first registers", func() bool { return strings.Contains(first.logged(), "waiting for 2 more") })
	first.stop(t, syscall.SIGKILL)

	members := []*process{launch(t, dir, flags...)}
	eventually(t, "the first comes back", func() bool { return strings.Contains(members[0].logged(), "is registered already and goes on") })
	for _, name := range []string{"infra1", "infra2"} {
		members = append(members, launch(t, t.TempDir(), flagsOf(name)...))
		eventually(t, name+" registers", func() bool { return strings.Contains(members[len(members)-1].logged(), "discovery: registered") })
	}
	checkCluster(t, ready(t, members))
	runExample(t, run[1], shown, service.url)

	fourth := launch(t, t.TempDir(), append(flagsOf("infra3"), "--discovery-fallback", "exit")...)
	<-fourth.done
	if got := fourth.cmd.ProcessState.ExitCode(); got != exitFailed {
		t.Errorf("the fourth ended with %d", got)
	}
	if !strings.Contains(fourth.logged(), "discovery: cluster is full: the 3 members of "+u+" are known and this one is not among them; ") {
		t.Errorf("the fourth does not say why")
	}

	gateway := startProcess(t, t.TempDir(), flagsOf("infra4")...)
	eventually(t, "the fifth forwards", func() bool { _, ok := tryGet(t, gateway.url+"/v2/keys/written0"); return ok })
	if log := gateway.logged(); !strings.Contains(log, "falling back to proxy") || !strings.Contains(log, "proxy: endpoints found") {
		t.Error("the fifth does not say that it has become a gateway")
	}

	// From now on the service is not needed.
	service.stop(t, syscall.SIGTERM)
	members[0].stop(t, syscall.SIGTERM)
	again := startProcess(t, dir, flags...)
	if !strings.Contains(again.logged(), "--discovery and --discovery-srv are ignored: "+dir+" holds a member") {
		t.Errorf("nothing is said about --discovery")
	}
}

// TestLostDataThroughDiscovery starts a member again whose data is gone. Its
// registration is still there, but the others know that it is not new.
func TestLostDataThroughDiscovery(t *testing.T) {
	service := startProcess(t, t.TempDir())
	u := newToken(t, service.url, "3")
	var members []*process
	var flags [][]string
	for _, name := range []string{"a", "b", "c"} {
		flags = append(flags, append(peerFlags(t, name), "--discovery", u, "--discovery-fallback", "exit"))
		members = append(members, launch(t, t.TempDir(), flags[len(flags)-1]...))
	}
	checkCluster(t, ready(t, members))
	members[1].stop(t, syscall.SIGKILL)

	lost := launch(t, t.TempDir(), flags[1]...)
	<-lost.done
	if got := lost.cmd.ProcessState.ExitCode(); got != exitFailed || !strings.Contains(lost.logged(), "has already been bootstrapped") {
		t.Errorf("the member without its data ended with %d", got)
	}

	replaced := launch(t, t.TempDir(), append(flags[1], "--initial-cluster-state", "auto", "--replace-lost-self")...)
	checkCluster(t, []string{members[0].url, ready(t, []*process{replaced})[0], members[2].url})
}

// runExample runs an example of a document against another server than it shows.
func runExample(t *testing.T, e example, shown, server string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	command := strings.ReplaceAll(e.command, shown, server) + " --silent --show-error --max-time 30"
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", e.command, err)
	}
	if got := strings.TrimRight(string(out), "\n"); !matches(e.want, got) {
		t.Errorf("%s\n got %s\nwant %s", e.command, got, e.want)
	}
}

// TestStopWhileDiscovering ends a member that waits for others, and one whose
// service is not there.
func TestStopWhileDiscovering(t *testing.T) {
	service := startProcess(t, t.TempDir())
	for u, said := range map[string]string{
		newToken(t, service.url, "2"):       "discovery: found 1 peer(s), waiting for 1 more",
		freeURL(t) + "/v2/keys/nobody/here": "discovery does not get on and will try again",
	} {
		p := launch(t, t.TempDir(), append(peerFlags(t, "a"), "--discovery", u)...)
		eventually(t, said, func() bool { return strings.Contains(p.logged(), said) })
		begun := time.Now()
		if status := p.stop(t, syscall.SIGTERM); !status.Signaled() || status.Signal() != syscall.SIGTERM {
			t.Errorf("ended with %v", p.cmd.ProcessState)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("ended after %v", took)
		}
		if !strings.Contains(p.logged(), "stopped before the member had started") {
			t.Error("the log does not say that it was told to stop")
		}
	}
}

// TestDiscoveryFaults starts members that cannot find each other, and reads
// the line that says so.
func TestDiscoveryFaults(t *testing.T) {
	service := startProcess(t, t.TempDir())
	u := newToken(t, service.url, "many")
	for flags, want := range map[string]string{
		"--discovery " + service.url + "/v2/keys/none": "discovery: size key not found: ",
		"--discovery " + u:                                                 `discovery: size key is bad: ` + u + `/_config/size is \"many\"`,
		"--discovery " + service.url:                                       "--discovery: " + service.url + " is not the URL of a token",
		"--discovery " + service.url + "/version":                          "discovery: bad discovery endpoint: ",
		"--discovery " + u + " --initial-cluster-state existing":           "--discovery finds the members of a new cluster; to join a running one",
		"--discovery " + u + " --discovery-proxy socks5://127.0.0.1:1":     "is not the address of an HTTP proxy",
		"--discovery-srv witan.invalid --name a --discovery-srv-name blue": "--discovery-srv: neither _etcd-server-ssl-blue._tcp.witan.invalid nor ",
	} {
		t.Run(flags, func(t *testing.T) {
			if strings.Contains(flags, "-srv") {
				if _, _, err := net.DefaultResolver.LookupSRV(t.Context(), "etcd-server-blue", "tcp", "witan.invalid"); !isNotFound(err) {
					t.Skipf("this machine's DNS does not deny names: %v", err)
				}
			}
			p := launch(t, t.TempDir(), append(peerFlags(t, "a"), strings.Fields(flags)...)...)
			select {
			case <-p.done:
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
			if got := p.cmd.ProcessState.ExitCode(); got != exitFailed || !strings.Contains(p.logged(), want) {
				t.Errorf("status %d, want %d and %q", got, exitFailed, want)
			}
		})
	}
}

func isNotFound(err error) bool {
	var failure *net.DNSError
	return errors.As(err, &failure) && failure.IsNotFound
}

// TestDiscoverySRV makes a cluster of members that know nothing but a domain.
func TestDiscoverySRV(t *testing.T) {
	peers := []string{freeURL(t), freeURL(t), freeURL(t)}
	resolver := srvResolver(t, peers)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	programs := make([]*program, len(peers))
	errs := make([]error, len(peers))
	var starting sync.WaitGroup
	for i, peer := range peers {
		c, _, err := parseConfig([]string{
			"--name", "infra" + string(rune('0'+i)), "--data-dir", t.TempDir(), "--discovery-srv", "example.com",
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://127.0.0.1:2379",
		}, nil)
		if err := errors.Join(err, c.validate(), c.validateStart()); err != nil {
			t.Fatal(err)
		}
		c.resolver = resolver
		starting.Go(func() { programs[i], errs[i] = open(ctx, c, newLogger(zerolog.NewTestWriter(t), "warn")) })
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var clients []string
	for _, p := range programs {
		defer func() {
			if err := p.close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		clients = append(clients, "http://"+p.clients[0].Addr().String())
	}
	checkCluster(t, clients)
	for i := range peers {
		name := `"name":"infra` + string(rune('0'+i)) + `"`
		eventually(t, name, func() bool { body, _ := tryGet(t, clients[0]+"/v2/members"); return strings.Contains(body, name) })
	}
}

// srvResolver asks a DNS server that knows the peer URLs, with localhost for
// their host, as the members of example.com, and nothing else.
func srvResolver(t *testing.T, peers []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Name.String() != "_etcd-server._tcp.example.com." {
				m.RCode = dnsmessage.RCodeNameError
			} else {
				for _, peer := range peers {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
						Body:   &dnsmessage.SRVResource{Target: dnsmessage.MustNewName("localhost."), Port: portOf(peer)},
					})
				}
			}
			if reply, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func portOf(raw string) uint16 {
	u, err := url.Parse(raw)
	if err != nil {
		return 0
	}
	port, err := net.LookupPort("tcp", u.Port())
	if err != nil {
		return 0
	}
	return uint16(port)
}

// discoveredID is the id of a member with one peer URL, as it is written.
func discoveredID(peer, token string) string {
	return strconv.FormatUint(cluster.MemberID([]string{peer}, token), 16)
}
