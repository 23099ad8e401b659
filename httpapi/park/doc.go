// Package park keeps watches whose clients wait, at little cost.
//
// A request that waits inside net/http holds a handler's stack, two buffers of
// 4 KiB, a request, its contexts and a goroutine that reads ahead. A watch may
// wait for hours and tens of thousands may wait at once, so a [Lot] takes the
// connection over as soon as the head of the answer is written:
//
//	net/http ──Park──▶ waits ──event──▶ answered ──next request──▶ waits again
//	    ▲             one goroutine      │                  │
//	    └────────────────────────────────┴──any other───────┘
//	                  Listener
//
// What is left of a watch that waits is its watcher, the connection and one
// goroutine in a read without a buffer, which notices that the client leaves
// or asks for something else. Events are written by a few senders, fed by a
// queue of connections that [watch.Waker] fills: a publisher only puts them
// there. A sender never waits for a client. What a socket does not take at once is
// written by a goroutine of that connection's own.
//
// A client that asks for its next watch on the same connection stays in the
// lot; any other request is handed back to the http.Server unread, through
// Listener, and so is everything out of the ordinary. There is no second HTTP
// server here: a request is parsed by net/http and answered by the same
// handler, and if that does anything else than to park, what it did is
// forgotten and the request served as if it had come on a new connection.
//
// Measured on two cores (2026-11-24), with net/http before, and etcd 3.4 in the
// same minutes:
//
//	                                         before      now     etcd
//	memory of a long poll that waits         26 KiB  6.4 KiB   30 KiB
//	the same after two events                29 KiB  7.6 KiB   44 KiB
//	2,000 on one key: CPU for each event
//	  and the next request                    75 µs    42 µs    96 µs
//	2,000 streams: CPU for each event         18 µs    10 µs    20 µs
//	a watch and a GET in turns on one
//	  connection: CPU for both               106 µs   113 µs   134 µs
//
// CPU times are medians and vary by a third. Two fifths of what is left is the
// kernel's, for three system calls.
package park
