package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

// presetKeys is how many keys there are before any load, numbered from 1.
const presetKeys = 1000

// workload is a kind of request, sent over and over.
type workload struct {
	name  string
	about string // for the report

	method string
	query  string // with its question mark
	value  bool   // carries a value
	fresh  bool   // always a new key, instead of any of the preset ones
}

// workloads lists the workloads that are driven by requests, in the order in
// which they run.
func workloads() []workload {
	return []workload{
		{name: "put", method: "PUT", value: true, about: "PUT over one of 1,000 keys in 10 directories"},
		{name: "get", method: "GET", about: "GET of one of 1,000 keys in 10 directories"},
		{name: "quorum-get", method: "GET", query: "?quorum=true", about: "The same GET with `quorum=true`"},
		{name: "create", method: "PUT", value: true, fresh: true, about: "PUT of a key that was not there"},
	}
}

// The measurements that are not requests over and over (start.go).
const (
	startEmpty  = "start-empty"
	startLoaded = "start-loaded"
)

func workloadNames() []string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return append(names, startEmpty, startLoaded)
}

// numberDigits is the width of a key's number, so that all requests of a
// workload are equally long and differ in those digits alone.
const numberDigits = 12

// request is a request in the bytes of the wire. Which key it is for is
// written into it each time.
type request struct {
	bytes     []byte
	directory int // where the digit of the directory is
	number    int // where the digits of the key are
}

// requestTo returns w's request to the server at addr, with values of
// valueSize bytes.
func (w workload) requestTo(addr string, valueSize int) request {
	const dir, key = "/v2/keys/bench-", "0/key-"
	head := w.method + " " + dir
	r := request{directory: len(head), number: len(head) + len(key)}
	head += key + strings.Repeat("0", numberDigits) + w.query + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	body := ""
	if w.value {
		body = "value=" + strings.Repeat("v", valueSize)
		head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	r.bytes = []byte(head + "\r\n" + body)
	return r
}

// setKey makes r a request for key n, which lies in directory n mod 10.
// Directories are on the top level, so that they spread over groups.
func (r request) setKey(n uint64) {
	r.bytes[r.directory] = '0' + byte(n%10)
	for i := r.number + numberDigits - 1; i >= r.number; i-- {
		r.bytes[i] = '0' + byte(n%10)
		n /= 10
	}
}

// picker chooses the key of a connection's next request. more is false when
// there is nothing left to ask for.
type picker func() (key uint64, more bool)

// anyPreset picks preset keys at random, the same ones for the same seed.
func anyPreset(seed uint64) picker {
	random := rand.New(rand.NewPCG(seed, presetKeys))
	return func() (uint64, bool) { return 1 + random.Uint64N(presetKeys), true }
}

// countUp picks the keys after last up to end, shared with all connections
// that have the same last.
func countUp(last *atomic.Uint64, end uint64) picker {
	return func() (uint64, bool) {
		n := last.Add(1)
		return n, n <= end
	}
}
