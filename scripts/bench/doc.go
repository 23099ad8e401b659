// Bench measures witan beside etcd on the same machine.
//
// It starts Debian's etcd 3.4 with its v2 API, a witan server with the same
// durability and an empty chi handler (floor.go) as the least that a server on
// net/http can cost. It drives them in turn, several rounds of etcd, witan and
// floor, over raw keep-alive connections, so that a disturbance of the machine
// meets all of them, and prints medians with the lowest and highest round.
//
// Times on a shared machine are noisy. The figure to look at is the server's
// CPU time per request and its ratio to etcd's in the same run. The column
// "others" says how much of the machine was taken by processes that have
// nothing to do with the measurement, "withheld" how much its host kept back.
//
//	go run ./scripts/bench                     everything, in tables
//	go run ./scripts/bench -write              docs/performance.md as well
//	go run ./scripts/bench -json               a JSON line per sample
//	go run ./scripts/bench -against before     bin/witan beside another witan
//	go run ./scripts/bench -h                  all flags
//
// Everything that can be measured is in the list of session.go. Requests sent
// over and over are in workload.go and load.go, requests sent on a schedule in
// open.go, watchers in watch.go, large trees in scale.go, starts in start.go.
// What was found becomes tables in tables.go, and in targets.go is held against
// what witan wants to be.
package main
