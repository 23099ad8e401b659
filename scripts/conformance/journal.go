package main

import (
	"cmp"
	"slices"
	"strings"
)

// journal is the list of events as the answers of the left server told them,
// in its indexes. It says which events a watcher must see by the rules of the
// contract (§2.2, with every [DECIDE] of §2.4), for the watches where etcd
// itself does not keep them.
type journal struct {
	entries []entry
	exists  map[string]bool // the keys that are there, directories included
}

type entry struct {
	index   uint64
	key     string
	silent  bool            // a TTL refresh
	removed map[string]bool // the keys below that went away with this one
	event   tree
}

func (e entry) compare(index uint64) int { return cmp.Compare(e.index, index) }

func newJournal() *journal { return &journal{exists: make(map[string]bool)} }

// add puts in an event, once. Events come in order but for those of keys that
// expire while others are waited for.
func (j *journal) add(event tree, silent bool) {
	node, ok := event.get("node")
	if !ok {
		return
	}
	e := entry{index: node.number("modifiedIndex"), key: node.text("key"), silent: silent, event: event}
	at, known := slices.BinarySearchFunc(j.entries, e.index, entry.compare)
	if known {
		return
	}
	switch event.text("action") {
	case "delete", "compareAndDelete", "expire":
		e.removed = j.remove(e.key)
	default:
		for k := e.key; k != ""; k = k[:strings.LastIndexByte(k, '/')] {
			j.exists[k] = true
		}
	}
	j.entries = slices.Insert(j.entries, at, e)
}

func (j *journal) remove(key string) map[string]bool {
	gone := make(map[string]bool)
	for k := range j.exists {
		if k == key || strings.HasPrefix(k, key+"/") {
			delete(j.exists, k)
			gone[k] = true
		}
	}
	return gone
}

// seenBy returns the events a watcher of w must have been sent by now, w.from
// being the first index it asked for.
func (j *journal) seenBy(w watching) []tree {
	var events []tree
	start, _ := slices.BinarySearchFunc(j.entries, w.from, entry.compare)
	for _, e := range j.entries[start:] {
		if e.silent || !w.wants(e) {
			continue
		}
		events = append(events, e.event)
		if !w.stream {
			break
		}
	}
	return events
}

// watching says what a watcher asked for.
type watching struct {
	key       string
	recursive bool
	stream    bool
	from      uint64 // the first index, in the left server's numbers
	past      bool   // from lay in the past when the watch was accepted
}

func (w watching) wants(e entry) bool {
	if e.key == w.key || e.removed[w.key] {
		return true
	}
	return w.recursive && below(w.key, e.key) && !hiddenBelow(w.key, e.key)
}

// below reports whether key lies strictly below dir.
func below(dir, key string) bool {
	return strings.HasPrefix(key, strings.TrimSuffix(dir, "/")+"/")
}

// hiddenBelow reports whether a component of key below dir starts with "_".
func hiddenBelow(dir, key string) bool {
	return strings.Contains(strings.TrimPrefix(key, strings.TrimSuffix(dir, "/")), "/_")
}
