// Package cluster makes one key store out of many replicated ones.
//
// A Node is one member: it runs a raft replica of the meta group and of every
// key group on Dragonboat, applies their logs to package store, hands the
// events to package watch, and answers proposals and reads (design §3, §5, §7).
// The word group is not spoken above this package.
package cluster
