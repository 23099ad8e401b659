package main

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestListenSaysWhichAddressIsTaken(t *testing.T) {
	taken, err := listen(t.Context(), []string{"http://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken[0].Close() }()
	busy := "http://" + taken[0].Addr().String()

	free := freeURL(t)
	_, err = listen(t.Context(), []string{free, busy})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "--listen-client-urls: "+busy+": ") {
		t.Fatalf("got %v", err)
	}
	again, err := listen(t.Context(), []string{free})
	if err != nil {
		t.Fatalf("the first address was not given back: %v", err)
	}
	_ = again[0].Close()
}

// TestSlotsAreShared has two listeners with one slot between them.
func TestSlotsAreShared(t *testing.T) {
	limit := make(slots, 1)
	first, second := limitedLoopback(t, limit), limitedLoopback(t, limit)

	dial(t, first)
	held := accepted(t, first)
	dial(t, second)
	arrived := make(chan net.Conn, 1)
	go func() {
		if conn, err := second.Accept(); err == nil {
			arrived <- conn
		}
	}()
	select {
	case <-arrived:
		t.Fatal("a second connection was accepted with one slot")
	case <-time.After(50 * time.Millisecond): // nothing to wait for: it must not happen
	}
	_ = held.Close()
	_ = held.Close() // gives back one slot, not two
	select {
	case conn := <-arrived:
		if len(limit) != 1 {
			t.Errorf("%d slots taken, want 1", len(limit))
		}
		_ = conn.Close()
	case <-time.After(10 * time.Second):
		t.Fatal("the slot was not given back")
	}
}

func TestCloseEndsAnAcceptWithoutASlot(t *testing.T) {
	l := limitedLoopback(t, make(slots)) // never a slot
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Accept still waits")
	}
}

// A server can do with a counted connection what it can with any: to write
// without waiting takes its descriptor.
func TestCountedConnectionHasItsDescriptor(t *testing.T) {
	l := limitedLoopback(t, make(slots, 1))
	dial(t, l)
	conn, ok := accepted(t, l).(syscall.Conn)
	if !ok {
		t.Fatal("no syscall.Conn")
	}
	if raw, err := conn.SyscallConn(); err != nil || raw == nil {
		t.Errorf("got %v, %v", raw, err)
	}
}

func limitedLoopback(t *testing.T, limit slots) net.Listener {
	t.Helper()
	ls, err := listen(t.Context(), []string{"http://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	l := limit.limit(ls[0])
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t *testing.T, l net.Listener) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
}

func accepted(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// freeURL returns a URL nobody listens on at the moment.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// The limit of files can change under a running process.
func TestFewerFilesThanAtTheStart(t *testing.T) {
	l := limitedLoopback(t, make(slots, 2)).(*limitedListener)
	var files atomic.Int64
	looked := make(chan struct{}, 1)
	l.files = func() (int, error) {
		select {
		case looked <- struct{}{}:
		default:
		}
		return int(files.Load()), nil
	}
	files.Store(reservedFiles)
	dial(t, l)
	arrived := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			arrived <- conn
		}
		close(arrived)
	}()
	for range 2 { // the second look is after the first was found too low
		<-looked
	}
	select {
	case <-arrived:
		t.Fatal("a connection was accepted out of the reserve")
	default:
	}
	files.Store(reservedFiles + 1)
	select {
	case conn := <-arrived:
		_ = conn.Close()
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is not accepted when there are files again")
	}
}

func TestCloseEndsTheWaitForFiles(t *testing.T) {
	l := limitedLoopback(t, make(slots, 2)).(*limitedListener)
	looked := make(chan struct{}, 100)
	l.files = func() (int, error) { looked <- struct{}{}; return 0, nil }
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	<-looked
	_ = l.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) || len(l.slots) != 0 {
			t.Errorf("%v, %d slots taken", err, len(l.slots))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Accept goes on waiting")
	}
}
