// Package history records what clients and watchers of a run saw.
//
// It is plain data: the checkers read it, tests write it by hand.
package history
