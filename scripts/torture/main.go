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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: 0 when the promises held, 1 when one was broken or the run proved nothing, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	if args[0] == "ledger" {
		if err := writeLedger(args[1:], stderr); err != nil {
			fmt.Fprintln(stderr, "torture:", err)
			return 2
		}
		return 0
	}
	s, ok := find(args[0])
	if !ok {
		usage(stderr)
		return 2
	}
	o, err := s.parse(args[1:], stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "torture:", err)
		return 2
	}
	fmt.Fprintf(stdout, "torture %s seed=%d kind=%s members=%d groups=%d\n", s.name, o.seed, o.kind, o.members, o.groups)
	rep := execute(ctx, s, o, stdout)
	rep.write(stdout)
	if o.ledger != "" && len(rep.Parts) == 0 { // parts are entered one by one, those of quick and mustfind not at all
		if err := rep.enter(o.ledger, o.binary); err != nil {
			fmt.Fprintln(stderr, "torture:", err)
			return 2
		}
	}
	if !rep.Pass {
		return 1
	}
	return 0
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: torture SCENARIO [flags]   (torture SCENARIO -h lists the flags)")
	for _, s := range scenarios() {
		fmt.Fprintf(w, "  %-10s %s\n", s.name, s.about)
	}
	fmt.Fprintln(w, "  ledger     no run: write docs/reliability.md from the runs that were made with --ledger")
}
