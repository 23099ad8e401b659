// Conformance compares a witan server with a real etcd, answer by answer.
//
// It starts both itself, sends the same requests to both over raw connections
// and compares status, headers and body byte for byte, with indexes followed
// through a one-to-one map (indexes.go) and times compared with a tolerance
// (body.go). Requests come from the scripts in testdata and from a random
// generator (generate.go); watches are opened before a batch of writes and
// compared after it (watch.go).
//
// Where the design asks for something else than etcd does, deviations.go lists
// it with the reason and recognises exactly that; any other difference makes
// the exit status 1. README.md says how to run it and how to read its report.
package main
