// Package check judges recorded histories against what a v2 store promises.
//
// Every check is a pure function from a history to the violations it found, so that each has a test with
// histories it must accept and histories it must reject.
package check
