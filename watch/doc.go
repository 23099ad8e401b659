// Package watch tells those who wait what changes in the key tree.
//
// A [Hub] takes the events of one key group in index order and hands each to
// the watchers it concerns; what is past it reads back from a [Source]. A
// [Merge] makes one sequence of several groups' events for the hub of the root.
// Every watcher is told each event it asked for exactly once and in index
// order, or it is ended; it is never silently skipped (design §6, contract §2).
//
// The package starts no goroutine, does no I/O but through Source, and never
// lets a watcher hold up a publisher. DESIGN.md says why it is built as it is.
package watch
