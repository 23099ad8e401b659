package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// reservedFiles is how many file descriptors are kept from clients, for the
// store, the log and the other members (contract §5.2).
const reservedFiles = 150

// fileLimit returns how many files the process may have open. The Go runtime
// has already raised the soft limit to the hard one.
func fileLimit() (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	return int(min(l.Cur, 1<<20)), nil
}

// checkHost reports what makes it impossible to run here.
func checkHost() error {
	limit, err := fileLimit()
	if err == nil && limit <= reservedFiles {
		err = fmt.Errorf("only %d files may be open, witan needs more than %d; raise the limit (ulimit -n)", limit, reservedFiles)
	}
	return errors.Join(err, checkDirectory())
}

// checkDirectory refuses a current directory with settings files of Dragonboat:
// it reads them before main starts and then behaves as nobody here has tested.
func checkDirectory() error {
	var errs []error
	for _, name := range []string{"dragonboat-soft-settings.json", "dragonboat-hard-settings.json"} {
		if _, err := os.Stat(name); err == nil {
			errs = append(errs, fmt.Errorf("the current directory has a file %s, which would change how raft works; "+
				"remove it or start elsewhere", name))
		}
	}
	return errors.Join(errs...)
}
