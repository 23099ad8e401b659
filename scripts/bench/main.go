package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its globals. Servers it has started are gone and
// their data is removed when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == floorCommand {
		return status(serveFloor(ctx, args[1:], stderr), stderr)
	}
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within --timeout %v", o.timeout))
	defer cancel()
	return status(measure(ctx, o, stdout, stderr), stderr)
}

func status(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitDone
}

// measure runs everything o asks for and reports it.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) error {
	products, err := productsOf(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "witan-bench-")
	if err != nil {
		return err
	}
	s := &session{options: o, products: products, dir: dir, started: time.Now(), progress: stderr}
	if o.json {
		s.samples = stdout
	}
	err = s.runAll(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what failed, failed because of it
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	r := report{options: o, host: s.host, found: s.found}
	if !o.json {
		if err := r.text(stdout); err != nil {
			return err
		}
	}
	if o.write {
		return r.writeFile(reportFile)
	}
	return nil
}
