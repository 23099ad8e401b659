package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// scenario is one way to torture a cluster.
type scenario struct {
	name     string
	about    string
	defaults options
	flags    func(*flag.FlagSet, *options) // beside the common ones, may be nil
	run      func(context.Context, *trial) error
}

// scenarios are all of them, in the order of the README.
func scenarios() []scenario {
	return []scenario{
		killScenario(), gapScenario(), ttlScenario(), rootwatchScenario(), litmusScenario(), quickScenario(), powerScenario(),
		membersScenario(), coordinatorScenario(), lostScenario(), upheavalScenario(), locksScenario(), stormScenario(), fullScenario(), brimScenario(), fsyncScenario(), decayScenario(), partitionScenario(), mustfindScenario(), longScenario(),
	}
}

func find(name string) (*scenario, bool) {
	for _, s := range scenarios() {
		if s.name == name {
			return &s, true
		}
	}
	return nil, false
}

// execute runs a scenario in its own directory and reports. Nothing it started is left when it returns.
func execute(ctx context.Context, s *scenario, o options, progress io.Writer) *report {
	t := newTrial(s.name, o, progress)
	defer func() {
		if t.rep.Pass || !o.keep {
			_ = os.RemoveAll(o.dir)
			return
		}
		t.saveEvidence()
		fmt.Fprintln(progress, "kept in", o.dir)
	}()
	begin := time.Now()
	defer t.close() // also when the scenario panics
	err := s.run(ctx, t)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		t.rep.inconclusive("the run broke off: %v", err)
	}
	t.complaints()
	t.close()
	t.rep.finish(t.rec, time.Since(begin))
	return t.rep
}
