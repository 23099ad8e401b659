package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalled is the cause of a context that a signal ended.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return fmt.Sprintf("received %v", s.Signal) }

// catchSignals returns a context that the first SIGINT or SIGTERM ends, with a
// signalled as its cause. After that the signals have their default effect
// again, so a second one ends the process at once. release undoes it all.
func catchSignals(parent context.Context) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-received:
			signal.Stop(received)
			cancel(signalled{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(received)
		cancel(context.Canceled)
	}
}

// endAsSignalled ends the process the way the signal that stopped it would
// have, so that its parent sees "terminated by SIGTERM" as with etcd (contract
// §5.9). Process 1 has no default signal actions and exits with 0. Without a
// signal it returns.
func endAsSignalled(ctx context.Context) {
	var s signalled
	if !errors.As(context.Cause(ctx), &s) {
		return
	}
	if os.Getpid() == 1 {
		os.Exit(0)
	}
	if err := syscall.Kill(os.Getpid(), s.Signal); err != nil {
		os.Exit(1)
	}
	time.Sleep(5 * time.Second) // the signal is on its way
	os.Exit(1)
}
