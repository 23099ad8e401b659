package main

import (
	"syscall"
	"time"
)

// sleepPrecisely sleeps for d. The runtime's own timers may be a millisecond
// late when a process has little to do, which is more than most answers take.
func sleepPrecisely(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // if it is interrupted, a request is early
}
