package peer

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// forgetful stands before a member and, when told to, forgets the connections there are: what
// is sent on them vanishes and no end is heard of. New ones pass.
type forgetful struct {
	net.Listener
	generation atomic.Int64
}

func startForgetful(t *testing.T, target string) *forgetful {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			born := f.generation.Load()
			go f.copy(server, client, born)
			go f.copy(client, server, born)
		}
	}()
	return f
}

func (f *forgetful) copy(to, from net.Conn, born int64) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if f.generation.Load() == born {
			_, _ = to.Write(buf[:n])
		}
	}
}

// TestConnectionThatLeadsNowhere: messages arrive again soon after the way forgot their connection without a word.
func TestConnectionThatLeadsNowhere(t *testing.T) {
	where := make(map[uint64]string)
	a, b := startStation(t, alice, where), startStation(t, bob, where)
	f := startForgetful(t, b.addr)
	where[bob] = "http://" + f.Addr().String()
	conn, err := a.GetConnection(t.Context(), Target(bob))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(term uint64) {
		t.Helper()
		if err := conn.SendMessageBatch(batchFrom(alice, bob, term)); err != nil {
			t.Fatal(err)
		}
	}
	send(1)
	receive(t, b.messages)
	f.generation.Add(1)
	begin := time.Now()
	heartbeat := time.NewTicker(10 * time.Millisecond)
	defer heartbeat.Stop()
	for len(b.messages) == 0 {
		send(2)
		<-heartbeat.C
		if time.Since(begin) > 3*pulseless {
			t.Fatalf("nothing has arrived for %v", time.Since(begin))
		}
	}
}

// TestConnectionIsKept: one that is answered stands, whether much is sent, little or nothing.
func TestConnectionIsKept(t *testing.T) {
	a, b := pair(t)
	conn, err := a.GetConnection(t.Context(), Target(bob))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func() {
		t.Helper()
		if err := conn.SendMessageBatch(batchFrom(alice, bob, 1)); err != nil {
			t.Fatal(err)
		}
		receive(t, b.messages)
	}
	send()
	link := conn.(*messageConn).link
	for range 1000 {
		send()
	}
	select { // one message waits for a pulse, and none is waited for afterwards
	case <-link.gone:
		t.Fatal("a connection that is answered was given up")
	case <-time.After(pulseless + pulseEvery):
	}
	send()
	if conn.(*messageConn).link != link {
		t.Error("a connection that was idle was given up")
	}
}

// TestWithoutPulses: members that know nothing of pulses get none and owe none.
func TestWithoutPulses(t *testing.T) {
	a, _ := pair(t)
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, upgradeRequest(testCluster, bob, alice)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1024)
	n, err := conn.Read(head)
	if err != nil || !strings.Contains(string(head[:n]), "101") || strings.Contains(string(head[:n]), headerPulse) {
		t.Fatalf("answered %q, %v", head[:n], err)
	}
	old := &link{Conn: conn}
	old.expect()
	if old.waiting {
		t.Error("a pulse is expected that was not promised")
	}
}
