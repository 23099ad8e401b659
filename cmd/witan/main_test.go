package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this test binary stand in for the command: anything that runs
// "witan" in these tests runs main, coverage and race detector included.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"witan": main, "stubborn": stubborn})
}

// stubborn is a program that will not stop when it is told to.
func stubborn() {
	ctx, release := catchSignals(context.Background())
	defer release()
	fmt.Println("running")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	time.Sleep(patience)
}

// TestScripts runs the command line as a user would (testdata/script).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
