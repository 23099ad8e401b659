package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// halt reports an error after which nothing of this member may be written any
// more, least of all by trying again: after a failed fsync the next one
// succeeds without what the first has lost. It does not return, because its
// caller would go on, or panic: Dragonboat knows no other end for an error of
// the disk, and what it leaves is a trace of its own goroutines.
//
// Close then gives up what is open as a crash does.
//
// A node that serves nobody does not halt: there the error is returned, or panicked with.
func (n *Node) halt(err error) {
	if !n.halts {
		return
	}
	n.halted.CompareAndSwap(nil, &err)
	n.endWaits()
	n.fail(err)
	select {}
}

// endWaits ends what waits inside.
func (n *Node) endWaits() { n.ending.Do(func() { close(n.stopping) }) }

// unlessHalted does a part of opening the node. If the disk fails meanwhile it
// returns why, and leaves the rest of that part waiting for ever.
func (n *Node) unlessHalted(part func() error) error {
	done := make(chan error, 1)
	go func() { done <- part() }()
	select {
	case err := <-done:
		if n.halted.Load() == nil {
			return err
		}
	case <-n.stopping:
	}
	return *n.halted.Load()
}

// diskError says what is to be done when the disk has failed or is full, or no more files may be open.
func diskError(what string, err error) error {
	advice := "nothing is written any more, since what has been lost is not known; look after the disk, then start the member again"
	switch {
	case errors.Is(err, unix.ENOSPC):
		advice = "nothing is written any more; free some space, then start the member again"
	case strings.Contains(err.Error(), unix.EMFILE.Error()): // what raft panics for is text only
		advice = "raise the limit of open files (ulimit -n), then start the member again"
	}
	return fmt.Errorf("cluster: %s: %w: %s", what, err, advice)
}

// panicked turns what was recovered into an error, if it may be one of the
// disk's. Mistakes in the program go on as panics.
func panicked(p any) error {
	switch p := p.(type) {
	case runtime.Error:
		panic(p)
	case error:
		return p
	}
	return fmt.Errorf("%v", p)
}

// panics has what Dragonboat panics for, in goroutines of its own. Its logger
// is the process's, so this is too: of several nodes in one it is the last.
//
//nolint:gochecknoglobals // see loggerOnce
var panics atomic.Pointer[func(string)]

// takePanics makes this node the one that halts when Dragonboat panics. While
// raft is opened or closed it must not be: there panics are recovered.
func (n *Node) takePanics() {
	f := func(text string) { n.halt(n.raftPanicked(text)) }
	n.panics = &f
	panics.Store(n.panics)
}

// raftPanicked says what to do when Dragonboat cannot go on. At start that is damage more often than not.
func (n *Node) raftPanicked(text string) error {
	err := errors.New(firstLine(text))
	if !n.caught.Load() && !ofTheDisk(text) {
		return n.logDamaged("the raft log", err)
	}
	return diskError("raft", err)
}

// ofTheDisk says whether a text is about an error of the disk: sometimes all there is of one is its text.
func ofTheDisk(text string) bool {
	return strings.Contains(text, unix.EIO.Error()) || strings.Contains(text, unix.ENOSPC.Error())
}

func (n *Node) leavePanics() { panics.CompareAndSwap(n.panics, nil) }
