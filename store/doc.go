// Package store keeps etcd v2's key tree as a deterministic state machine on disk.
//
// A Store is one replica of one group's tree. It is told what happened, in log
// order, by Apply, and gives back events; the same log makes the same tree, the
// same events and the same running hash on every replica, because nothing in
// here reads a clock, a random number or the order of a Go map. Reads go on
// beside Apply and see the tree as it was right after one index.
//
// Everything applied is first held in memory and written to Badger a few tens
// of milliseconds later by the package's one goroutine, the committer; until
// then the raft log is the durable record. DESIGN.md says why, and what the
// layers are.
package store
