//go:build !linux

package main

import "time"

// sleepPrecisely sleeps for d, or a little longer.
func sleepPrecisely(d time.Duration) { time.Sleep(d) }
