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
package park
