package main

import (
	"fmt"
	"syscall"
)

// spareFiles is how many files a server has open beside its connections.
const spareFiles = 1000

// allowConnections lets this program, and the servers it starts from now on,
// have n connections.
func allowConnections(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	wanted := uint64(n + spareFiles)
	if limit.Max < wanted {
		return fmt.Errorf("%d connections need %d open files and the system allows %d (ulimit -Hn)", n, wanted, limit.Max)
	}
	// Servers inherit what is set here. What the Go runtime has raised for this
	// process alone, they do not.
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
