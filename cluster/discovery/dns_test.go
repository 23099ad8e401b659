package discovery

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/witan-kv/witan/cluster"
)

// nameServer is a DNS server on a UDP port of this machine.
type nameServer struct {
	srv   map[string][]string // question → HOST:PORT
	hosts map[string]string   // host → IPv4 address

	mu      sync.Mutex
	asked   []string // guarded by mu
	failing int      // how many questions are still answered with SERVFAIL, guarded by mu
}

// resolver starts the server and returns a resolver that asks it.
func (s *nameServer) resolver(t *testing.T) *net.Resolver {
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
			if reply, err := s.answer(buf[:n]); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, name)
	m.Response, m.Additionals = true, nil
	if s.failing > 0 {
		s.failing--
		m.RCode = dnsmessage.RCodeServerFailure
		return m.Pack()
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
	address, isHost := s.hosts[name]
	targets, isService := s.srv[name]
	switch {
	case !isHost && !isService:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA && isHost:
		body := &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	case q.Type == dnsmessage.TypeSRV:
		for _, target := range targets {
			host, port, err := net.SplitHostPort(target)
			if err != nil {
				return nil, err
			}
			number, err := net.LookupPort("tcp", port)
			if err != nil {
				return nil, err
			}
			body := &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(host + "."), Port: uint16(number)}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	return m.Pack()
}

const plainQuestion = "_etcd-server._tcp.example.com"

// three are the members most of these tests are about.
func three() *nameServer {
	return &nameServer{
		srv: map[string][]string{plainQuestion: {"c.example.com:2380", "a.example.com:2380", "b.example.com:7001"}},
		hosts: map[string]string{
			"a.example.com": "10.0.0.1", "b.example.com": "10.0.0.2", "c.example.com": "10.0.0.3", "alias.example.com": "10.0.0.2",
		},
	}
}

func lookUp(t *testing.T, s *nameServer, self cluster.Peer) ([]cluster.Peer, error) {
	t.Helper()
	return LookUp(t.Context(), DNS{Domain: "example.com", Resolver: s.resolver(t), Logger: zerolog.Nop(), pause: time.Millisecond}, self)
}

// TestLookUp finds the same URLs for every member, with its own name at its
// own place.
func TestLookUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		self cluster.Peer
		want [3]string // names
	}{
		{"by text", cluster.Peer{Name: "x", URLs: []string{"http://a.example.com:2380"}}, [3]string{"x", "0", "1"}},
		{"by text with capitals and a dot", cluster.Peer{Name: "x", URLs: []string{"http://C.Example.com.:2380"}}, [3]string{"0", "1", "x"}},
		{"by address", cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.2:7001"}}, [3]string{"0", "x", "1"}},
		{"by another name", cluster.Peer{Name: "x", URLs: []string{"http://alias.example.com:7001"}}, [3]string{"0", "x", "1"}},
		{"by the second URL", cluster.Peer{Name: "x", URLs: []string{"http://10.9.9.9:2380", "http://10.0.0.3:2380"}}, [3]string{"0", "1", "x"}},
		{"called as others would be", cluster.Peer{Name: "0", URLs: []string{"http://b.example.com:7001"}}, [3]string{"1", "0", "2"}},
		{"a gateway", cluster.Peer{}, [3]string{"0", "1", "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookUp(t, three(), tt.self)
			want := []cluster.Peer{
				{Name: tt.want[0], URLs: []string{"http://a.example.com:2380"}},
				{Name: tt.want[1], URLs: []string{"http://b.example.com:7001"}},
				{Name: tt.want[2], URLs: []string{"http://c.example.com:2380"}},
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// TestLookUpMistakes reads records that no cluster can be made of.
func TestLookUpMistakes(t *testing.T) {
	a := cluster.Peer{Name: "x", URLs: []string{"http://a.example.com:2380"}}
	for _, tt := range []struct {
		name   string
		change func(*nameServer)
		self   cluster.Peer
		want   string
	}{
		{"no records", func(s *nameServer) { s.srv = nil }, a,
			"neither _etcd-server-ssl._tcp.example.com nor _etcd-server._tcp.example.com has SRV records; add one for each member"},
		{"https", func(s *nameServer) { s.srv["_etcd-server-ssl._tcp.example.com"] = []string{"a.example.com:2380"} }, a,
			"_etcd-server-ssl._tcp.example.com lists members that speak https (a.example.com:2380), which needs certificates that witan cannot use yet; " +
				"list them under _etcd-server._tcp.example.com"},
		{"somebody else", func(*nameServer) {}, cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.9:2380"}},
			"cannot find this member (http://10.0.0.9:2380) among a.example.com:2380, b.example.com:7001, c.example.com:2380 of _etcd-server._tcp.example.com; " +
				"add an SRV record for it, or set --initial-advertise-peer-urls to what its record says"},
		{"another port", func(*nameServer) {}, cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.1:1"}}, "cannot find this member (http://10.0.0.1:1) among "},
		{"a host DNS does not know", func(s *nameServer) { delete(s.hosts, "a.example.com") },
			cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.1:2380"}}, "lookup a.example.com"},
		{"twice", func(s *nameServer) { s.srv[plainQuestion] = append(s.srv[plainQuestion], "alias.example.com:7001") },
			cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.2:7001"}},
			"alias.example.com:7001 and b.example.com:7001 of _etcd-server._tcp.example.com are both this member (http://10.0.0.2:7001); leave one SRV record for each member"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := three()
			tt.change(s)
			got, err := lookUp(t, s, tt.self)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestLookUpUnresolved counts a member whose host is not known yet: its pod may
// not have started.
func TestLookUpUnresolved(t *testing.T) {
	s := three()
	delete(s.hosts, "b.example.com")
	got, err := lookUp(t, s, cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.3:2380"}})
	if err != nil || len(got) != 3 || got[2].Name != "x" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLookUpService asks for the records of one of several clusters.
func TestLookUpService(t *testing.T) {
	s := &nameServer{srv: map[string][]string{"_etcd-server-blue._tcp.example.com": {"a.example.com:2380"}}}
	got, err := LookUp(t.Context(), DNS{Domain: "example.com", Service: "blue", Resolver: s.resolver(t)},
		cluster.Peer{Name: "x", URLs: []string{"http://a.example.com:2380"}})
	if diff := cmp.Diff([]cluster.Peer{{Name: "x", URLs: []string{"http://a.example.com:2380"}}}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	want := []string{"_etcd-server-ssl-blue._tcp.example.com", "_etcd-server-blue._tcp.example.com"}
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestLookUpTriesAgain waits for a DNS server that does not know yet.
func TestLookUpTriesAgain(t *testing.T) {
	s := three()
	s.failing = 20
	got, err := lookUp(t, s, cluster.Peer{Name: "x", URLs: []string{"http://10.0.0.1:2380"}})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || len(got) != 3 || s.failing != 0 {
		t.Errorf("%v, %v, %d failures left", got, err, s.failing)
	}
}

// TestLookUpEndsWithContext stops a member whose DNS server says nothing.
func TestLookUpEndsWithContext(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(stopped) })
	begun := time.Now()
	if _, err := LookUp(ctx, DNS{Domain: "example.com", Resolver: r, Logger: zerolog.Nop()}, member(1)); !errors.Is(err, stopped) {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("ended after %v", took)
	}
}
