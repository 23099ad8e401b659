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
