package main

import (
	"context"
	"os"
)

// Set by the linker (see the Makefile); plain `go build` leaves them alone.
var (
	version = "unreleased"
	commit  = "unknown"
)

func main() {
	ctx, release := catchSignals(context.Background())
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	release()
	endAsSignalled(ctx) // returns only if no signal stopped us
	os.Exit(status)
}
