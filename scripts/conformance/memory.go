package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// memory is what one server has told so far, in its own indexes, for the
// templates in requests: the same step then means the same on both servers
// although their indexes differ.
type memory struct {
	members  []identity          // of the cluster, first the one that is asked
	added    []string            // ids of members added since
	first    uint64              // the index when the memory began
	modified map[string][]uint64 // the indexes of the events on each key
	names    map[string]string   // the last in-order child made in each directory
	events   []uint64            // the indexes of all events seen
}

// identity is one member: but for the name, what differs between the two
// servers by their nature.
type identity struct {
	name, member, client, peer string
}

func newMemory(members []identity, first uint64) *memory {
	return &memory{members: members, first: first, modified: make(map[string][]uint64), names: make(map[string]string)}
}

// learn remembers an event that this server answered to a request with.
func (m *memory) learn(method string, event tree) {
	node, ok := event.get("node")
	if !ok {
		return
	}
	key, index := node.text("key"), node.number("modifiedIndex")
	at, known := slices.BinarySearch(m.events, index)
	if index == 0 || known { // a watch told of an event seen before
		return
	}
	m.events = slices.Insert(m.events, at, index)
	m.modified[key] = append(m.modified[key], index)
	if method == "POST" {
		i := strings.LastIndexByte(key, '/')
		m.names[key[:i]] = key[i+1:]
	}
}

// unknownIndex stands for an index that no server has reached.
const unknownIndex = 7_777_777_777

// expand replaces the templates in s:
//
//	${first}      the first index after the servers were last empty
//	${mod KEY}    modifiedIndex of the last event on KEY
//	${old KEY}    modifiedIndex of the event before that
//	${next KEY}   ${mod KEY} + 1
//	${back N}     index of the event N events before the last one
//	${after N}    ${back N} + 1
//	${last+N}     the last index + N, however N events later be numbered
//	${pad last+N} the same as the name of an in-order key: 20 digits
//	${name DIR}   name of the last in-order child of DIR
//	${rep N TEXT} TEXT, N times
//	${member N} ${client N} ${peer N}
//	              member id, client URL, peer URL of the N-th member; the first,
//	              and the one meant without N, is the one that is asked
//	${added N}    id of the member added before the last N; ${ADDED N} is the
//	              same in other words: in upper case with leading zeros
//
// What is not known yet becomes an index no server has reached, or a name that
// no key has.
func (m *memory) expand(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		inside, after, _ := strings.Cut(rest, "}")
		b.WriteString(m.value(inside))
		s = after
	}
}

func (m *memory) value(template string) string {
	verb, arg, _ := strings.Cut(template, " ")
	switch verb {
	case "first":
		return strconv.FormatUint(m.first, 10)
	case "mod":
		return strconv.FormatUint(m.nth(m.modified[arg], 0), 10)
	case "old":
		return strconv.FormatUint(m.nth(m.modified[arg], 1), 10)
	case "next":
		return strconv.FormatUint(m.nth(m.modified[arg], 0)+1, 10)
	case "back":
		return strconv.FormatUint(m.nth(m.events, atoi(arg)), 10)
	case "after":
		return strconv.FormatUint(m.nth(m.events, atoi(arg))+1, 10)
	case "pad":
		n, _ := strings.CutPrefix(arg, "last+")
		return fmt.Sprintf("%020d", m.nth(m.events, 0)+uint64(atoi(n)))
	case "name":
		if name, ok := m.names[arg]; ok {
			return name
		}
		return "none"
	case "rep":
		n, text, _ := strings.Cut(arg, " ")
		return strings.Repeat(text, atoi(n))
	case "member":
		return m.nthMember(arg).member
	case "client":
		return m.nthMember(arg).client
	case "peer":
		return m.nthMember(arg).peer
	case "added":
		return m.nthAdded(atoi(arg))
	case "ADDED":
		return "000" + strings.ToUpper(m.nthAdded(atoi(arg)))
	}
	if n, ok := strings.CutPrefix(verb, "last+"); ok {
		return strconv.FormatUint(m.nth(m.events, 0)+uint64(atoi(n)), 10)
	}
	return "${" + template + "}"
}

// nth returns the n-th index from the end.
func (m *memory) nth(indexes []uint64, n int) uint64 {
	if n >= len(indexes) {
		return unknownIndex
	}
	return indexes[len(indexes)-1-n]
}

// atoi reads a number that a script wrote; parseScript has checked it.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// expandRequest returns the request as it goes to this server.
func (m *memory) expandRequest(r request) request {
	r.target, r.body = m.expand(r.target), m.expand(r.body)
	r.header = slices.Clone(r.header)
	for i, line := range r.header {
		r.header[i] = m.expand(line)
	}
	return r
}

// anonymous replaces what names the servers themselves by fixed words, so that
// answers about members can be compared.
func (m *memory) anonymous(s string) string {
	var names []string
	for i, id := range m.members {
		n := ""
		if i > 0 {
			n = " " + strconv.Itoa(i+1)
		}
		names = append(names, `"name":"`+id.name+`"`, `"name":"<name`+n+`>"`, id.member, "<member"+n+">", id.client, "<client"+n+">", id.peer, "<peer"+n+">")
	}
	for i, id := range m.added {
		names = append(names, id, "<added "+strconv.Itoa(i+1)+">")
	}
	return strings.NewReplacer(names...).Replace(s)
}
