package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

// presetKeys is how many keys there are before any load, numbered from 1.
const presetKeys = 1000

// shape is a kind of request. In it {d} stands for the digit of a directory,
// {n} for the number of a key, {i} for an index to wait for, {v} and {w} for
// two values.
type shape struct {
	method string
	path   string // below /v2/keys, with its query
	form   string // the body; "" = none
}

// Directories are on the top level, so that they spread over groups.
const keyPath = "/bench-{d}/key-{n}"

func putKey() shape { return shape{method: "PUT", path: keyPath, form: "value={v}"} }
func getKey() shape { return shape{method: "GET", path: keyPath} }

// workload is requests sent over and over.
type workload struct {
	name  string
	about string // for the report

	cycle []shape // sent one after the other, again and again
	first *shape  // sent once on each connection, before anything is measured
	keys  keyChoice

	main  bool // targets depend on it: more rounds than others
	sized bool // measured with all value sizes
	wide  bool // measured with all numbers of members and groups
}

// keyChoice says which keys a workload's requests are for.
type keyChoice int

const (
	preset keyChoice = iota // any of the preset keys
	fresh                   // keys that are not there
	own                     // one for each connection
)

// workloads lists the workloads that are driven by requests, in the order in
// which they run.
func workloads() []workload {
	put, get := putKey(), getKey()
	lease := shape{"PUT", keyPath, "value={v}&ttl=60"}
	return []workload{
		{name: "put", cycle: []shape{put}, main: true, sized: true, wide: true,
			about: "PUT over one of 1,000 keys in 10 directories"},
		{name: "get", cycle: []shape{get}, main: true, sized: true, wide: true,
			about: "GET of one of 1,000 keys in 10 directories"},
		{name: "quorum-get", cycle: []shape{{method: "GET", path: keyPath + "?quorum=true"}}, main: true, wide: true,
			about: "The same GET with `quorum=true`"},
		{name: "mixed", cycle: []shape{get, get, get, get, get, get, get, get, get, put}, wide: true,
			about: "GET, and every tenth request a PUT"},
		{name: "create", cycle: []shape{put}, keys: fresh,
			about: "PUT of a key that was not there"},
		{name: "cas", keys: own, first: &put,
			cycle: []shape{{"PUT", keyPath, "value={w}&prevValue={v}"}, {"PUT", keyPath, "value={v}&prevValue={w}"}},
			about: "PUT with `prevValue`, each connection on a key of its own"},
		{name: "post", cycle: []shape{{"POST", "/queue-{d}", "value={v}"}}, keys: fresh,
			about: "POST into one of 10 directories"},
		{name: "refresh", keys: own, first: &lease,
			cycle: []shape{{"PUT", keyPath, "ttl=60&refresh=true&prevExist=true"}},
			about: "PUT with `refresh=true`, each connection on a key of its own that has a TTL"},
		{name: "list", cycle: []shape{{method: "GET", path: "/?recursive=true"}},
			about: "Recursive GET of 1,000 keys"},
	}
}

// numberDigits is the width of a number, so that all requests of a shape are
// equally long and differ in those digits alone.
const numberDigits = 12

// request is a request in the bytes of the wire. Which key it is for is
// written into it each time.
type request struct {
	bytes []byte
	// Where the digit of the directory, the digits of the key and those of the
	// index to wait for are; -1 if there are none.
	directory, number, index int
}

// requestTo returns the request to the server at addr, with values of
// valueSize bytes. It is for key 0.
func (s shape) requestTo(addr string, valueSize int) request {
	var r request
	head := s.method + " /v2/keys" + s.path
	place := func(mark, digits string) int {
		at := strings.Index(head, mark)
		head = strings.Replace(head, mark, digits, 1)
		return at
	}
	// In the order in which they may follow each other: a place moves when
	// something before it is replaced.
	r.directory = place("{d}", "0")
	r.number = place("{n}", strings.Repeat("0", numberDigits))
	r.index = place("{i}", strings.Repeat("0", numberDigits))
	head += " HTTP/1.1\r\nHost: " + addr + "\r\n"
	body := strings.NewReplacer(
		"{v}", strings.Repeat("v", valueSize),
		"{w}", strings.Repeat("w", valueSize)).Replace(s.form)
	if body != "" {
		head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	r.bytes = []byte(head + "\r\n" + body)
	return r
}

// setKey makes r a request for key n, which lies in directory n mod 10.
func (r request) setKey(n uint64) {
	if r.directory >= 0 {
		r.bytes[r.directory] = '0' + byte(n%10)
	}
	if r.number >= 0 {
		r.setDigits(r.number, n)
	}
}

// setIndex makes r wait for index n.
func (r request) setIndex(n uint64) { r.setDigits(r.index, n) }

func (r request) setDigits(at int, n uint64) {
	for i := at + numberDigits - 1; i >= at; i-- {
		r.bytes[i] = '0' + byte(n%10)
		n /= 10
	}
}

// picker chooses the key of a connection's next request. more is false when
// there is nothing left to ask for.
type picker func() (key uint64, more bool)

// anyOf picks keys 1 to n at random, the same ones for the same seed.
func anyOf(n, seed uint64) picker {
	random := rand.New(rand.NewPCG(seed, n))
	return func() (uint64, bool) { return 1 + random.Uint64N(n), true }
}

// always picks key n.
func always(n uint64) picker {
	return func() (uint64, bool) { return n, true }
}

// countUp picks the keys after last up to end, shared with all connections
// that have the same last.
func countUp(last *atomic.Uint64, end uint64) picker {
	return func() (uint64, bool) {
		n := last.Add(1)
		return n, n <= end
	}
}
