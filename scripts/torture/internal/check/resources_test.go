package check

import (
	"strings"
	"testing"
)

func TestResources(t *testing.T) {
	start := []Usage{{"a", 100, 40 << 20, 80, 12, 90 << 20}, {"b", 200, 20 << 20, 60, 14, 80 << 20}}
	most := Usage{"b", 300, 80 << 20, 156, 40, 204 << 20}
	if v := Resources(start, []Usage{start[0], most}); len(v) > 0 {
		t.Errorf("what may be was found: %v", v)
	}
	for part, leak := range map[string]Usage{
		"goroutines": {Goroutines: 1}, "heap": {Heap: 1 << 20}, "descriptors": {Descriptors: 1}, "threads": {Threads: 1}, "resident": {RSS: 1 << 20},
	} {
		u := most
		u.Goroutines += leak.Goroutines
		u.Heap += leak.Heap
		u.Descriptors += leak.Descriptors
		u.Threads += leak.Threads
		u.RSS += leak.RSS
		if v := Resources(start, []Usage{u}); len(v) != 1 || !strings.Contains(v[0].Detail, part) {
			t.Errorf("%s too many: %v", part, v)
		}
	}
	if v := Resources([]Usage{{Member: "a", Threads: 3}}, []Usage{{Member: "a", Threads: 3, Goroutines: 1e6}}); len(v) > 0 {
		t.Errorf("what could not be told at the start was compared: %v", v)
	}
}
