package httpapi

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/witan-kv/witan/store"
)

// The encoder of the key space: what encoding/json wrote when etcd was built
// with it, letter by letter, without reflection. (Go 1.22 shortened \u0008 and
// \u000c to \b and \f; we did not.) Fields are in the contract's order (§1.5).

// encodeEvent returns an event and its line end in memory of their own.
func encodeEvent(e *store.Event) []byte {
	size := 64 + sizeHint(e.Node)
	if e.Prev != nil {
		size += sizeHint(e.Prev)
	}
	return appendEvent(make([]byte, 0, size), e)
}

// sizeHint is about as many bytes as a node takes, with all it lists.
func sizeHint(n *store.Node) int {
	size := 160 + len(n.Key.String()) + len(n.Value) + len(n.Value)/16
	for _, child := range n.Nodes {
		size += sizeHint(child)
	}
	return size
}

// appendEvent appends an event and its line end.
func appendEvent(b []byte, e *store.Event) []byte {
	b = append(b, `{"action":"`...)
	b = append(b, e.Action.String()...)
	b = append(b, `","node":`...)
	b = appendNode(b, e.Node, e.Action.Removes())
	if e.Prev != nil {
		b = append(b, `,"prevNode":`...)
		b = appendNode(b, e.Prev, false)
	}
	return append(b, "}\n"...)
}

// appendNode appends a node and what it lists. A node that was removed has no
// value any more; the root has neither key nor indexes.
func appendNode(b []byte, n *store.Node, removed bool) []byte {
	b = append(b, '{')
	start := len(b)
	if !n.Key.IsRoot() {
		b = append(b, `"key":`...)
		b = appendString(b, n.Key.String())
	}
	if n.Dir {
		b = appendName(b, start, "dir")
		b = append(b, "true"...)
	} else if !removed {
		b = appendName(b, start, "value")
		b = appendString(b, n.Value)
	}
	if n.HasTTL {
		b = appendName(b, start, "expiration")
		b = append(b, '"')
		b = time.Unix(0, n.Expiration).UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
		if n.TTL != 0 {
			b = appendName(b, start, "ttl")
			b = strconv.AppendInt(b, n.TTL, 10)
		}
	}
	if len(n.Nodes) > 0 {
		b = appendName(b, start, "nodes")
		b = appendNodes(b, n.Nodes)
	}
	if n.ModifiedIndex != 0 {
		b = appendName(b, start, "modifiedIndex")
		b = strconv.AppendUint(b, n.ModifiedIndex, 10)
	}
	if n.CreatedIndex != 0 {
		b = appendName(b, start, "createdIndex")
		b = strconv.AppendUint(b, n.CreatedIndex, 10)
	}
	return append(b, '}')
}

func appendNodes(b []byte, nodes []*store.Node) []byte {
	b = append(b, '[')
	for i, n := range nodes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNode(b, n, false)
	}
	return append(b, ']')
}

// appendError appends an error of the key space and its line end (contract §3.1).
func appendError(b []byte, e *store.Error) []byte {
	b = append(b, `{"errorCode":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, e.Message())
	if e.Cause != "" {
		b = append(b, `,"cause":`...)
		b = appendString(b, e.Cause)
	}
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, e.Index, 10)
	return append(b, "}\n"...)
}

// appendName appends the name of a field of the object that begins at start.
func appendName(b []byte, start int, name string) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, `":`...)
}

const hexDigits = "0123456789abcdef"

// plain says which ASCII characters stand for themselves in a JSON string.
// The three of HTML do not: answers may end up in a page.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// appendString appends s as a JSON string. Bytes that are not UTF-8 come out
// as U+FFFD (contract §1.5).
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // s[:done] is appended
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if !plain[c] {
				b = append(b, s[done:i]...)
				b = appendEscaped(b, c)
				done = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[done:i]...)
			b = append(b, `\ufffd`...)
			done = i + 1
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript
			b = append(b, s[done:i]...)
			b = append(b, `\u202`...)
			b = append(b, hexDigits[r&0xf])
			done = i + size
		}
		i += size
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	default:
		return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}
