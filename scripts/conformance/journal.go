package main

import (
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

func newJournal() *journal { return &journal{exists: make(map[string]bool)} }

// add appends an event, once.
func (j *journal) add(event tree, silent bool) {
	node, ok := event.get("node")
	if !ok {
		return
	}
	e := entry{index: node.number("modifiedIndex"), key: node.text("key"), silent: silent, event: event}
	if n := len(j.entries); n > 0 && j.entries[n-1].index >= e.index {
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
	j.entries = append(j.entries, e)
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

// last returns the index of the last event.
func (j *journal) last() uint64 {
	if len(j.entries) == 0 {
		return 0
	}
	return j.entries[len(j.entries)-1].index
}

// seenBy returns the events a watcher of w must have been sent by now, w.from
// being the first index it asked for.
func (j *journal) seenBy(w watching) []tree {
	var events []tree
	start, _ := slices.BinarySearchFunc(j.entries, w.from, func(e entry, i uint64) int {
		if e.index < i {
			return -1
		}
		return 1
	})
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
