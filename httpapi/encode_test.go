package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// shortEscapes are those that encoding/json has learned since etcd was built.
var shortEscapes = strings.NewReplacer(`\\`, `\\`, `\b`, `\u0008`, `\f`, `\u000c`)

func marshal(t interface{ Fatalf(string, ...any) }, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return shortEscapes.Replace(string(b))
}

func checkString(t interface{ Fatalf(string, ...any) }, s string) {
	if got, want := string(appendString(nil, s)), marshal(t, s); got != want {
		t.Fatalf("%q: got %s, want %s", s, got, want)
	}
}

func TestEveryByteAndRune(t *testing.T) {
	for c := range 256 {
		checkString(t, string([]byte{'x', byte(c), 'y'}))
		checkString(t, string([]byte{byte(c)}))
	}
	for r := rune(0); r <= 0x10ffff; r += 0x7f {
		checkString(t, string(r))
	}
	for _, s := range []string{"", "\u2028", "a\u2028\u2029b", "\u2027\u202a", "\ufffd", "\xe2\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xae"} {
		checkString(t, s)
	}
}

func TestStringsAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkString(t, rapid.String().Draw(t, "s")) })
	rapid.Check(t, func(t *rapid.T) {
		checkString(t, string(rapid.SliceOf(rapid.Byte()).Draw(t, "b")))
	})
}

func FuzzString(f *testing.F) {
	f.Add("<a href=\"x\">\u2028\xff")
	f.Fuzz(func(t *testing.T, s string) { checkString(t, s) })
}

// jsonNode and jsonEvent describe the wire format to encoding/json.
type jsonNode struct {
	Key           string      `json:"key,omitempty"`
	Value         *string     `json:"value,omitempty"`
	Dir           bool        `json:"dir,omitempty"`
	Expiration    *time.Time  `json:"expiration,omitempty"`
	TTL           int64       `json:"ttl,omitempty"`
	Nodes         []*jsonNode `json:"nodes,omitempty"`
	ModifiedIndex uint64      `json:"modifiedIndex,omitempty"`
	CreatedIndex  uint64      `json:"createdIndex,omitempty"`
}

type jsonEvent struct {
	Action   string    `json:"action"`
	Node     *jsonNode `json:"node"`
	PrevNode *jsonNode `json:"prevNode,omitempty"`
}

func asJSON(n *store.Node, removed bool) *jsonNode {
	if n == nil {
		return nil
	}
	j := &jsonNode{Dir: n.Dir, ModifiedIndex: n.ModifiedIndex, CreatedIndex: n.CreatedIndex}
	if !n.Key.IsRoot() {
		j.Key = n.Key.String()
	}
	if !n.Dir && !removed {
		j.Value = &n.Value
	}
	if n.HasTTL {
		at := time.Unix(0, n.Expiration).UTC()
		j.Expiration, j.TTL = &at, n.TTL
	}
	for _, child := range n.Nodes {
		j.Nodes = append(j.Nodes, asJSON(child, false))
	}
	return j
}

func drawNode(t *rapid.T, depth int) *store.Node {
	n := &store.Node{
		Key:           store.ParseKey(rapid.String().Draw(t, "key")),
		Dir:           rapid.Bool().Draw(t, "dir"),
		ModifiedIndex: rapid.Uint64().Draw(t, "modified"),
		CreatedIndex:  rapid.Uint64().Draw(t, "created"),
	}
	if !n.Dir {
		n.Value = rapid.String().Draw(t, "value")
	}
	if rapid.Bool().Draw(t, "hasTTL") {
		n.HasTTL = true
		n.Expiration = rapid.Int64Min(0).Draw(t, "expiration")
		n.TTL = rapid.Int64Range(0, store.MaxTTL).Draw(t, "ttl")
	}
	if n.Dir && depth > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "children") {
			n.Nodes = append(n.Nodes, drawNode(t, depth-1))
		}
	}
	return n
}

func TestEventsAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &store.Event{
			Action: store.Action(rapid.IntRange(int(store.ActionGet), int(store.ActionExpire)).Draw(t, "action")),
			Node:   drawNode(t, 2),
		}
		if rapid.Bool().Draw(t, "prev") {
			e.Prev = drawNode(t, 0)
		}
		want := marshal(t, jsonEvent{e.Action.String(), asJSON(e.Node, e.Action.Removes()), asJSON(e.Prev, false)}) + "\n"
		if got := string(encodeEvent(e)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestErrorsAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &store.Error{
			Code:  rapid.SampledFrom([]store.Code{100, 101, 210, 401}).Draw(t, "code"),
			Cause: rapid.String().Draw(t, "cause"),
			Index: rapid.Uint64().Draw(t, "index"),
		}
		want := marshal(t, struct {
			Code    store.Code `json:"errorCode"`
			Message string     `json:"message"`
			Cause   string     `json:"cause,omitempty"`
			Index   uint64     `json:"index"`
		}{e.Code, e.Message(), e.Cause, e.Index}) + "\n"
		if got := string(appendError(nil, e)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

var sampleEvent = &store.Event{
	Action: store.ActionSet,
	Node:   &store.Node{Key: store.ParseKey("/service/a/1"), Value: strings.Repeat("value ", 10), ModifiedIndex: 1234567, CreatedIndex: 1234567},
	Prev:   &store.Node{Key: store.ParseKey("/service/a/1"), Value: strings.Repeat("value ", 10), ModifiedIndex: 1234566, CreatedIndex: 1234566},
}

// An event's bytes are made once, in one piece of memory of about their size.
func TestEncodeEventAllocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { encodeEvent(sampleEvent) }); n > 1 {
		t.Errorf("encoding an event allocates %v times", n)
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = appendEvent(buf[:0], sampleEvent)
	}
}
