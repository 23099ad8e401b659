package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Lie is a way in which a client falsifies what passes between it and its member. Each stands for a promise a server could break, and the
// check of that promise must notice: a suite that finds nothing in a run with a lie would find nothing in any run.
type Lie string

// The lies.
const (
	LostWrite     Lie = "lost-write"     // acknowledged and never sent
	WrittenTwice  Lie = "written-twice"  // sent again after it was answered
	RefusedWrite  Lie = "refused-write"  // done, but answered with an error that says it was not
	OtherVersion  Lie = "other-version"  // a compare-and-swap sent without its condition
	OldRead       Lie = "old-read"       // a quorum read answered with what an earlier one saw
	SameIndex     Lie = "same-index"     // acknowledged with an index that was given before
	EarlierHeader Lie = "earlier-header" // X-Etcd-Index goes back
	WrongName     Lie = "wrong-name"     // an in-order key under the name of an earlier one
	DroppedEvent  Lie = "dropped-event"
	RepeatedEvent Lie = "repeated-event"
	SwappedEvents Lie = "swapped-events"
	WrongEvent    Lie = "wrong-event" // another value than was written
)

// Lies are all of them.
func Lies() []Lie {
	return []Lie{
		LostWrite, WrittenTwice, RefusedWrite, OtherVersion, OldRead, SameIndex, EarlierHeader, WrongName,
		DroppedEvent, RepeatedEvent, SwappedEvents, WrongEvent,
	}
}

// rarely is how many chances to lie pass between two lies.
const rarely = 10

// liar tells one lie of one client now and then.
type liar struct {
	lie     Lie
	chances int
	answer  Answer            // one from before
	reads   map[string]Answer // by key
	held    *history.Event    // to be told after the next
}

// turn says whether this chance is taken.
func (l *liar) turn() bool {
	l.chances++
	return l.chances%rarely == 0
}

// request changes what is sent. done says that nothing is to be sent because the answer is made up.
func (l *liar) request(r Request) (changed Request, made Answer, done bool) {
	write := r.Method == http.MethodPut
	switch {
	case l.lie == LostWrite && write && len(r.Form) == 1 && l.answer.Node != nil && l.turn():
		n := *l.answer.Node
		n.Key, n.Value, n.ModifiedIndex = r.Key, r.Form.Get("value"), n.ModifiedIndex+1
		made = l.answer
		made.Node, made.PrevNode = &n, nil
		return r, made, true
	case l.lie == OtherVersion && write && (r.Form.Has("prevIndex") || r.Form.Has("prevValue")):
		r.Form = url.Values{"value": r.Form["value"]}
	}
	return r, Answer{}, false
}

// answers changes what came back. again asks to send the request once more.
func (l *liar) answers(r Request, a Answer) (changed Answer, again bool) {
	acked := a.Code == 0 && a.Node != nil && r.Method != http.MethodGet
	before := l.answer
	if acked {
		l.answer = a
	}
	switch l.lie {
	case WrittenTwice:
		return a, acked && r.Method == http.MethodPut && len(r.Form) == 1 && l.turn()
	case RefusedWrite:
		if acked && l.turn() {
			return Answer{Status: http.StatusPreconditionFailed, Index: a.Index, Code: 101, Message: "Compare failed"}, false
		}
	case SameIndex:
		if acked && before.Node != nil && l.turn() {
			n := *a.Node
			n.ModifiedIndex = before.Node.ModifiedIndex
			a.Node = &n
		}
	case EarlierHeader:
		if a.Index > around && l.turn() {
			a.Index -= around
		}
	case WrongName:
		if acked && r.Method == http.MethodPost && l.turn() {
			n := *a.Node
			n.Key = n.Key[:strings.LastIndexByte(n.Key, '/')+1] + "00000000000000000001"
			a.Node = &n
		}
	case OldRead:
		return l.read(r, a), false
	case LostWrite, OtherVersion, DroppedEvent, RepeatedEvent, SwappedEvents, WrongEvent:
	}
	return a, false
}

// around is how far EarlierHeader goes back.
const around = 3

// read answers a quorum read now and then with what an earlier one of the key saw, under the present index.
func (l *liar) read(r Request, a Answer) Answer {
	if r.Method != http.MethodGet || r.Form.Get("quorum") != "true" || r.Form.Has("recursive") || a.Node == nil {
		return a
	}
	if l.reads == nil {
		l.reads = map[string]Answer{}
	}
	old, known := l.reads[r.Key]
	if !known {
		l.reads[r.Key] = a
		return a
	}
	if old.Node.ModifiedIndex < a.Node.ModifiedIndex && l.turn() {
		old.Index = a.Index
		return old
	}
	return a
}

// events changes one event into what the watcher is told instead.
func (l *liar) events(e history.Event) []history.Event {
	told := []history.Event{e}
	if l.held != nil {
		told, l.held = append(told, *l.held), nil
	}
	if !slices.Contains([]Lie{DroppedEvent, RepeatedEvent, SwappedEvents, WrongEvent}, l.lie) || !l.turn() {
		return told
	}
	switch l.lie {
	case DroppedEvent:
		return told[1:]
	case RepeatedEvent:
		return append(told, e)
	case SwappedEvents:
		l.held = &e
		return told[1:]
	default:
		told[0].Value += "?"
		return told
	}
}
