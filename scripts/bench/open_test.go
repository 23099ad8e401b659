package main

import (
	"net"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	start := time.Now()
	s := schedule{start: start, rate: 3000}
	for n, want := range map[int]time.Duration{0: 0, 3: time.Millisecond, 3000: time.Second, 30_000_000: 10_000 * time.Second} {
		if got := s.due(n).Sub(start); got != want {
			t.Errorf("request %d is due after %v, want %v", n, got, want)
		}
	}
	if got := s.count(2 * time.Second); got != 6000 {
		t.Errorf("%d requests in two seconds, want 6000", got)
	}
	if last := s.due(s.count(time.Second) - 1).Sub(start); last >= time.Second {
		t.Errorf("the last request of a second is due after %v", last)
	}
}

// TestOpenLoopCountsTheQueue has a server keep its first answer back for a
// while, over the only connection: what was due meanwhile waited too.
func TestOpenLoopCountsTheQueue(t *testing.T) {
	local, remote := net.Pipe()
	defer remote.Close()
	const requests, rate, stall = 100, 1000, 200 * time.Millisecond
	go func() {
		buf := make([]byte, 4096)
		for i := range requests {
			if _, err := remote.Read(buf); err != nil {
				return
			}
			if i == 0 {
				time.Sleep(stall)
			}
			if _, err := remote.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); err != nil {
				return
			}
		}
	}()
	cs := clients{{conn: local, answers: newResponses(local)}}
	defer cs.close()
	cs.prepare([]shape{getKey()}, true, 0, func(int) picker { return always(1) })
	o, err := cs.runOpen(t.Context(), rate, requests*time.Second/rate)
	if err != nil {
		t.Fatal(err)
	}
	// All 100 ms worth of requests were due before the first was answered after
	// 200 ms, so that even the last has waited for 100 ms.
	if low := o.latency.quantile(0); o.latency.total != requests || low < 95*time.Millisecond {
		t.Errorf("%d answers, the fastest after %v, want %d and at least 100ms", o.latency.total, low, requests)
	}
}
