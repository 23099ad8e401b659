//go:build torture

package main

import (
	"sync"
	"time"
)

// fakeClock is a clock that can be set wrong. At a rate other than 1 it begins
// to part from the right time when it is set; a strobe takes the offset off
// and puts it on in turns of that length.
type fakeClock struct {
	mu     sync.Mutex
	since  time.Time // Invariant: at since the clock showed shown, the strobe aside
	shown  time.Time
	offset time.Duration
	rate   float64
	strobe time.Duration
}

func newFakeClock() *fakeClock {
	now := time.Now()
	return &fakeClock{since: now, shown: now, rate: 1}
}

// set makes the clock wrong in another way: from what is right by offset, at that rate.
func (c *fakeClock) set(offset time.Duration, rate float64, strobe time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.since, c.shown, c.offset, c.rate, c.strobe = now, now, offset, rate, strobe
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := time.Since(c.since)
	t := c.shown.Add(time.Duration(float64(passed) * c.rate))
	if c.strobe > 0 && int64(passed/c.strobe)%2 == 1 {
		return t
	}
	return t.Add(c.offset)
}

// off is how far the clock is from the right time.
func (c *fakeClock) off() time.Duration { return time.Until(c.now()) }
