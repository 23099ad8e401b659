package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/discovery"
)

// Exit statuses, as etcd has them (contract §5.1).
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole command: it starts a member with the given arguments and
// environment, serves until ctx ends or something breaks, stops in order and
// returns the exit status. Nothing in it belongs to the process, so tests call
// it too.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "restore":
			return runRestore(ctx, args[1:], env, stdout, stderr)
		case "verify":
			return runVerify(args[1:], stdout, stderr)
		}
	}
	c, notes, err := parseConfig(args, env)
	if err != nil {
		return complain(stderr, err)
	}
	switch {
	case c.Help:
		writeHelp(stdout)
		return exitOK
	case c.Version:
		writeVersion(stdout)
		return exitOK
	case c.PrintConfig:
		return printConfig(&c, notes, stdout, stderr)
	}
	if err := errors.Join(c.validate(), c.validateStart(), checkHost()); err != nil {
		return complain(stderr, err)
	}
	log := newLogger(stderr, c.LogLevel)
	for _, note := range notes {
		log.Warn().Msg(note)
	}
	if err := serve(ctx, c, log); err != nil {
		log.Error().Err(err).Msg("witan stops")
		return exitFailed
	}
	log.Info().Msg("witan has stopped")
	return exitOK
}

// serve runs a member or a gateway until ctx ends, which is no error.
func serve(ctx context.Context, c config, log zerolog.Logger) error {
	log.Info().Str("version", version).Str("commit", commit).Str("data-dir", c.DataDir).Msg("witan starts")
	if c.isGateway() {
		return runGateway(ctx, c, log)
	}
	p, err := open(ctx, c, log)
	if errors.Is(err, discovery.ErrFull) && c.DiscoveryFallback == "proxy" {
		log.Warn().Err(err).Msg("discovery cluster full, falling back to proxy")
		c.Proxy = "on"
		return runGateway(ctx, c, log)
	}
	if err != nil {
		if ctx.Err() != nil {
			log.Info().Err(err).AnErr("reason", context.Cause(ctx)).Msg("stopped before the member had started")
			return nil // to stop is what was asked for
		}
		if errors.Is(err, cluster.ErrExpelled) {
			c.sayRemoved(log)
			return nil
		}
		return err
	}
	p.announce()
	err = p.wait(ctx)
	return errors.Join(err, p.close())
}

// complain prints what is wrong, one fault a line, and returns the status to
// exit with.
func complain(stderr io.Writer, err error) int {
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "witan: %v\n%s\n", err, usageLine)
		return exitUsage
	}
	for _, fault := range faults(err) {
		fmt.Fprintf(stderr, "witan: %v\n", fault)
	}
	return exitFailed
}

// faults takes apart what errors.Join put together.
func faults(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, faults(e)...)
	}
	return all
}
