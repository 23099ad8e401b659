package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lni/dragonboat/v4/config"
	pb "github.com/lni/dragonboat/v4/raftpb"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

const (
	testCluster = 0xc1
	alice       = 0xa1
	bob         = 0xb0
)

// station is one member's transport on a real port.
type station struct {
	*Transport
	addr     string
	messages chan pb.MessageBatch
	chunks   chan pb.Chunk
}

// startStation listens as self; where says how to reach the others.
func startStation(t *testing.T, self uint64, where map[uint64]string) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{addr: l.Addr().String(), messages: make(chan pb.MessageBatch, 100), chunks: make(chan pb.Chunk, 100)}
	where[self] = "http://" + s.addr
	s.Transport = New(Config{Cluster: testCluster, Self: self, Logger: zerolog.Nop(), Addresses: func(id uint64) []string {
		if u, ok := where[id]; ok {
			return []string{u}
		}
		return nil
	}})
	s.Create(config.NodeHostConfig{}, func(b pb.MessageBatch) {
		select {
		case s.messages <- b:
		default: // more than a test looks at
		}
	}, func(c pb.Chunk) bool { s.chunks <- c; return true })
	srv := NewServer(s.Transport, Info{
		Cluster: "c1",
		Members: func() []Member { return []Member{{ID: alice, PeerURLs: []string{"http://a:1"}, Name: "alice"}} },
		Version: func() any { return map[string]string{"etcdserver": "2.3.8"} },
	}, zerolog.Nop())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func pair(t *testing.T) (a, b *station) {
	where := make(map[uint64]string)
	return startStation(t, alice, where), startStation(t, bob, where)
}

func batchFrom(from, to uint64, term uint64) pb.MessageBatch {
	return pb.MessageBatch{
		DeploymentId: testCluster, SourceAddress: Target(from), BinVer: 210,
		Requests: []pb.Message{{From: from, To: to, ShardID: 1, Term: term, Entries: []pb.Entry{{Index: 7, Cmd: []byte("hello")}}}},
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}

func TestMessagesAndChunksArrive(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		a, b := pair(t)
		conn, err := a.GetConnection(t.Context(), Target(bob))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for term := range uint64(50) {
			if err := conn.SendMessageBatch(batchFrom(alice, bob, term)); err != nil {
				t.Fatal(err)
			}
		}
		for term := range uint64(50) {
			got := receive(t, b.messages)
			if m := got.Requests[0]; m.Term != term || string(m.Entries[0].Cmd) != "hello" {
				t.Fatalf("message %d arrived as %+v", term, m)
			}
		}
		if _, ok := b.Alive(alice); !ok {
			t.Error("bob has not heard of alice")
		}
		snap, err := a.GetSnapshotConnection(t.Context(), Target(bob))
		if err != nil {
			t.Fatal(err)
		}
		if err := snap.SendChunk(pb.Chunk{From: alice, DeploymentId: testCluster, ChunkId: 3, Data: bytes.Repeat([]byte("x"), 2<<20)}); err != nil {
			t.Fatal(err)
		}
		snap.Close()
		if c := receive(t, b.chunks); c.ChunkId != 3 || len(c.Data) != 2<<20 {
			t.Errorf("chunk %d with %d bytes arrived", c.ChunkId, len(c.Data))
		}
	})
}

// A member that is not there costs nothing but the messages, and gets them
// again as soon as it is back.
func TestReconnect(t *testing.T) {
	where := make(map[uint64]string)
	a := startStation(t, alice, where)
	where[bob] = "http://127.0.0.1:1" // nobody listens there
	conn, err := a.GetConnection(t.Context(), Target(bob))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SendMessageBatch(batchFrom(alice, bob, 1)); err != nil {
		t.Fatalf("a member out of reach is an error: %v", err)
	}
	b := startStation(t, bob, where)
	deadline := time.Now().Add(20 * time.Second)
	for len(b.messages) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no message arrived after the member came back")
		}
		if err := conn.SendMessageBatch(batchFrom(alice, bob, 2)); err != nil {
			t.Fatal(err)
		}
	}
}

// The first message after the other side has been restarted arrives: between
// two followers, who talk only when the leader is gone, it is a vote.
func TestFirstMessageAfterRestart(t *testing.T) {
	where := make(map[uint64]string)
	a := startStation(t, alice, where)
	conn, err := a.GetConnection(t.Context(), Target(bob))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for life := range uint64(3) {
		t.Run("", func(t *testing.T) {
			b := startStation(t, bob, where)
			if link := conn.(*messageConn).link; link != nil {
				receive(t, link.gone)
			}
			if err := conn.SendMessageBatch(batchFrom(alice, bob, life)); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, b.messages); got.Requests[0].Term != life {
				t.Errorf("term %d arrived, want %d", got.Requests[0].Term, life)
			}
		}) // bob's end: his connections are closed
	}
}

func upgradeRequest(cluster, from, to uint64) string {
	return fmt.Sprintf("GET /raft HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %x\r\n%s: %x\r\n%s: %x\r\n%s: 1\r\n%s: 1\r\n\r\n",
		raftProtocol, headerCluster, cluster, headerFrom, from, headerTo, to, headerInstance, headerBoots)
}

func TestStrangersAreRefused(t *testing.T) {
	_, b := pair(t)
	for _, tc := range []struct {
		name, request, reason string
	}{
		{"another target", upgradeRequest(testCluster, alice, alice), "another member"},
		{"an unknown member", upgradeRequest(testCluster, 0x99, bob), "not another member"},
		{"itself", upgradeRequest(testCluster, bob, bob), "not another member"},
		{"no data directory", strings.ReplaceAll(upgradeRequest(testCluster, alice, bob), headerInstance, "X-Other"), headerInstance},
		{"no upgrade", "GET /raft HTTP/1.1\r\nHost: x\r\n\r\n", "raft connections"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusPreconditionFailed || !strings.Contains(string(body), tc.reason) {
				t.Errorf("%d %q, want 412 with %q", resp.StatusCode, body, tc.reason)
			}
		})
	}
}

// Who was removed or lost its data hears so from any member, whomever it meant to reach.
func TestUnwantedMembersHearWhy(t *testing.T) {
	_, b := pair(t)
	for _, tc := range []struct {
		err    error
		status int
	}{
		{ErrExpelled, http.StatusGone},
		{ErrForeignData, http.StatusConflict},
		{ErrOtherCluster, http.StatusMisdirectedRequest},
	} {
		request := upgradeRequest(testCluster, alice, 0x99)
		if errors.Is(tc.err, ErrOtherCluster) {
			request = upgradeRequest(0xdead, alice, bob)
		}
		b.cfg.Admit = func(uint64, Origin) error { return tc.err }
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != tc.status {
			t.Errorf("%v is answered with %d, want %d", tc.err, resp.StatusCode, tc.status)
		}
	}
}

// Whatever a connection carries, the member goes on and takes no message of it.
func TestGarbageEndsOnlyItsConnection(t *testing.T) {
	frame := func(kind byte, payload []byte) []byte {
		b := append(make([]byte, frameHeader), payload...)
		putFrameHeader(b, kind)
		return b
	}
	marshal := func(b pb.MessageBatch) []byte {
		data, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// The packet that crashes Dragonboat's own transport (reliability §0.1).
	crash := []byte{0xAE, 0x7D}
	header := make([]byte, 18)
	binary.BigEndian.PutUint16(header, 100)
	binary.BigEndian.PutUint64(header[2:], 1<<62)
	binary.BigEndian.PutUint32(header[10:], crc32.ChecksumIEEE(header))
	crash = append(crash, header...)

	upgrade := []byte(upgradeRequest(testCluster, alice, bob))
	huge := binary.BigEndian.AppendUint32([]byte{frameMessages}, 0xffffffff)
	flipped := frame(frameMessages, marshal(batchFrom(alice, bob, 1)))
	flipped[len(flipped)-1] ^= 1
	_, b := pair(t)
	for name, data := range map[string][]byte{
		"bytes of another protocol":  crash,
		"half a request":             upgrade[:20],
		"a frame of 4 GiB":           append(bytes.Clone(upgrade), append(huge, 0, 0, 0, 0)...),
		"an unknown kind":            append(bytes.Clone(upgrade), frame(9, []byte("x"))...),
		"a flipped bit":              append(bytes.Clone(upgrade), flipped...),
		"what is no batch":           append(bytes.Clone(upgrade), frame(frameMessages, bytes.Repeat([]byte{0xff}, 300))...),
		"what is no chunk":           append(bytes.Clone(upgrade), frame(frameChunk, bytes.Repeat([]byte{0x0a}, 300))...),
		"somebody else's messages":   append(bytes.Clone(upgrade), frame(frameMessages, marshal(batchFrom(0x77, bob, 1)))...),
		"messages to somebody else":  append(bytes.Clone(upgrade), frame(frameMessages, marshal(batchFrom(alice, 0x77, 1)))...),
		"messages of another source": append(bytes.Clone(upgrade), frame(frameMessages, marshal(pb.MessageBatch{DeploymentId: testCluster, SourceAddress: "77"}))...),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			// Ends when the other side has closed; a reset is as good.
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Fatal("the connection was left open")
			}
		})
	}
	if n := len(b.messages); n != 0 {
		t.Errorf("%d batches were taken", n)
	}
	resp, err := http.Get("http://" + b.addr + "/version")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestMembersAndVersion(t *testing.T) {
	a, _ := pair(t)
	members, err := Ask(t.Context(), "http://"+a.addr)
	if err != nil {
		t.Fatal(err)
	}
	want := Member{ID: alice, PeerURLs: []string{"http://a:1"}, Name: "alice"}
	if diff := cmp.Diff([]Member{want}, members); diff != "" {
		t.Error(diff)
	}
	for path, body := range map[string]string{"/version": `{"etcdserver":"2.3.8"}`, "/members": `[{"id":161,`} {
		resp, err := http.Get("http://" + a.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(got), body) {
			t.Errorf("%s answers %q (%v), want %q…", path, got, err, body)
		}
	}
}
