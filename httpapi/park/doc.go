// Package park keeps watches whose clients wait, at little cost.
//
// A request that waits inside net/http holds a handler's stack, two buffers of
// 4 KiB, a request, its contexts and a goroutine that reads ahead. A watch may
// wait for hours and tens of thousands may wait at once, so they wait in a [Lot]:
//
//	listener ──Admit──▶ the client's turn ──a watch──▶ waits for its events
//	                       │         ▲                    ▲    │
//	                any other        └─────answered───────│────┘
//	                       ▼                              │
//	                   Listener ──▶ net/http ──Park───────┘
//
// What is left of a watch that waits is its watcher, the connection and one
// goroutine in a read without a buffer, which notices that the client leaves
// or asks for something else. Events are written by a few senders, fed by a
// queue of connections that [watch.Waker] fills: a publisher only puts them
// there. A sender never waits for a client. What a socket does not take at once is
// written by a goroutine of that connection's own.
//
// A client that asks for a watch and then for the next on one connection never
// leaves the lot. With any other request, and all that is out of the ordinary, the
// connection goes to an http.Server through Listener, as if nobody had read from
// it; from there it comes back when a handler parks. There is no second
// HTTP server here: a request is parsed by net/http and answered by the server's own
// handler, and if that does anything else than to park, what it did is forgotten.
//
// Measured on two cores (2026-11-24), with net/http before, and etcd 3.4 in the
// same minutes:
//
//	                                         before      now     etcd
//	memory of a long poll that waits         25 KiB  5.8 KiB   28 KiB
//	2,000 on one key: CPU for each event
//	  and the next request                    75 µs    46 µs    96 µs
//	2,000 streams: CPU for each event         18 µs    10 µs    20 µs
//	a watch and a GET in turns on one
//	  connection: CPU for both               106 µs   113 µs   134 µs
//
// CPU times are medians and vary by a third. Two fifths of what is left is the
// kernel's, for three system calls.
package park
