package main

import (
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// freeURL6 is freeURL on ::1. It skips the test where there is no IPv6.
func freeURL6(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no IPv6: %v", err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// TestIPv6AndHostNames runs a cluster of two, one known by addresses of IPv6
// and one by the name of the host.
func TestIPv6AndHostNames(t *testing.T) {
	six, name := freeURL6(t), strings.Replace(freeURL(t), "127.0.0.1", "localhost", 1)
	client := freeURL6(t)
	a := launch(t, t.TempDir(), "--name", "six", "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", six, "--initial-advertise-peer-urls", six, "--initial-cluster", "six="+six+",name="+name)
	b := launch(t, t.TempDir(), "--name", "name", "--listen-client-urls", "http://[::]:0,http://localhost:0",
		"--listen-peer-urls", name, "--initial-advertise-peer-urls", name, "--initial-cluster", "six="+six+",name="+name)
	a.await(t)
	b.await(t)
	if a.url != client {
		t.Errorf("serving at %s, want %s", a.url, client)
	}
	if code, body := put(t, a.url, "/a", "1"); code != http.StatusCreated {
		t.Errorf("PUT at ::1: %d %s", code, body)
	}
	other := strings.Replace(b.url, "[::]", "[::1]", 1)
	if code, body := get(t, other+"/v2/keys/a?quorum=true"); code != http.StatusOK || !strings.Contains(body, `"value":"1"`) {
		t.Errorf("GET from the other member: %d %s", code, body)
	}
	for _, u := range []string{six + "/members", name + "/members", client + "/v2/members"} {
		if code, body := get(t, u); code != http.StatusOK || !strings.Contains(body, `"`+six+`"`) || !strings.Contains(body, `"`+name+`"`) {
			t.Errorf("%s: %d %s", u, code, body)
		}
	}
}

func TestURLsOfEveryFamily(t *testing.T) {
	for _, tt := range []struct{ raw, address string }{
		{"http://127.0.0.1:2379", "127.0.0.1:2379"},
		{"http://localhost:0", "localhost:0"},
		{"http://[::1]:2379", "[::1]:2379"},
		{"http://[::]:0", "[::]:0"},
		{"http://:2379", ":2379"},
		{"http://[fe80::1%25eth0]:2379", "[fe80::1%eth0]:2379"},
		{"http://node-1.example.com:2379", "node-1.example.com:2379"},
	} {
		if err := checkURL(tt.raw, toListen); err != nil {
			t.Errorf("%s: %v", tt.raw, err)
		}
		if got := address(tt.raw); got != tt.address {
			t.Errorf("address(%q) = %q, want %q", tt.raw, got, tt.address)
		}
	}
	if peers, err := parseCluster([]string{"a=http://[::1]:2380", "a=http://a.example.com:2380"}); err != nil || len(peers) != 1 || len(peers[0].URLs) != 2 {
		t.Errorf("got %v, %v", peers, err)
	}
}

// TestZones listens on a link-local address, which needs a zone.
func TestZones(t *testing.T) {
	raw := linkLocalURL(t)
	ls, err := listen(t.Context(), []string{raw})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	defer func() { _ = ls[0].Close() }()
	_, port, err := net.SplitHostPort(ls[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The listener's own word for it may lack the zone.
	conn, err := net.Dial("tcp", strings.TrimSuffix(address(raw), "0")+port)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// linkLocalURL returns a link-local address of this machine as a URL.
func linkLocalURL(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() == nil && ip.IP.IsLinkLocalUnicast() {
				return "http://[" + ip.IP.String() + "%25" + i.Name + "]:0"
			}
		}
	}
	t.Skip("no link-local address")
	return ""
}
