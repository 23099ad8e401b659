package main

import "testing"

func TestMemoryLimitGivesWay(t *testing.T) {
	l := memoryLimit{least: 272 << 20}
	for _, tt := range []struct{ live, want int64 }{
		{0, 272},
		{30, 272},
		{241, 272},
		{242, 288},
		{690, 784},
	} {
		if got := l.limitFor(tt.live << 20); got != tt.want<<20 {
			t.Errorf("%d MiB in use: a limit of %d MiB, want %d", tt.live, got>>20, tt.want)
		}
	}
}

func TestLullAfterABurst(t *testing.T) {
	var l lull
	var allocated uint64
	lulls := func(ticks int, each uint64) (n int) {
		for range ticks {
			allocated += each
			if l.begins(allocated) {
				n++
			}
		}
		return n
	}
	if n := lulls(100, 1<<10); n != 0 {
		t.Errorf("%d lulls after nothing", n)
	}
	if n := lulls(100, 10<<20); n != 0 {
		t.Errorf("%d lulls in a burst", n)
	}
	if n := lulls(39, 100<<10); n != 0 {
		t.Errorf("%d lulls in less than 20 s", n)
	}
	if n := lulls(500, 100<<10); n != 1 {
		t.Errorf("%d lulls after a burst", n)
	}
}
