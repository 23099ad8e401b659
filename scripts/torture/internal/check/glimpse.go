package check

import (
	"fmt"
	"strings"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Glimpse is one watch, from when a member accepted it to its end, whoever ended it.
type Glimpse struct {
	Watcher   string
	Key       string
	Recursive bool
	From      uint64 // waitIndex, 0 is from now on
	Accepted  uint64 // X-Etcd-Index of the answer's head
	Events    []history.Event
}

// first is the index from which on the watch is told of events.
func (g *Glimpse) first() uint64 {
	if g.From == 0 {
		return g.Accepted + 1
	}
	return g.From
}

// sees says whether an event is one of those the watch asks for. Directories are not removed in the runs this is for.
func (g *Glimpse) sees(e *history.Event) bool {
	if e.Index < g.first() {
		return false
	}
	if g.Key == "/" || e.Key == g.Key {
		return g.Key != "/" || g.Recursive
	}
	return g.Recursive && strings.HasPrefix(e.Key, g.Key+"/")
}

// Glimpses says that each watch was told of what the log has for it, from the first event on, without a hole, a repetition or anything
// else, for as long as it lasted (MR-3, MR-4, MR-5). The second result is the number of events compared.
func (l *Log) Glimpses(all []Glimpse) ([]Violation, int) {
	var out []Violation
	compared := 0
	for i := range all {
		g := &all[i]
		same, wrong := l.glimpse(g)
		compared += same
		if wrong != "" {
			out = append(out, violation("glimpse", nil, "%s of %s from %d: %s", g.Watcher, g.Key, g.first(), wrong))
		}
	}
	return out, compared
}

// glimpse returns how many events are as the log has them, and what is wrong with the next one. What is above the log's end is not judged.
func (l *Log) glimpse(g *Glimpse) (same int, wrong string) {
	for i := range l.Events {
		e := &l.Events[i]
		if same == len(g.Events) {
			return same, ""
		}
		if !g.sees(e) {
			continue
		}
		if got := &g.Events[same]; !got.Same(e) {
			return same, fmt.Sprintf("event %d was %s, the log has %s", same, got, e)
		}
		same++
	}
	if same < len(g.Events) && g.Events[same].Index <= l.last() {
		return same, fmt.Sprintf("event %d was %s, which the log does not have", same, &g.Events[same])
	}
	return same, ""
}
