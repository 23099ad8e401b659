// Package procs runs the members of a cluster as real processes.
//
// It starts them, kills, pauses and restarts them by pid, keeps a log file for each, and leaves none behind.
package procs
