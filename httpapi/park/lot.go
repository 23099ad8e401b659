package park

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// Config is what a Lot needs to know. All of it must be set.
type Config struct {
	// Handler serves the requests that come on parked connections. It must be
	// free of effects for a GET that it does not park, which is served twice.
	Handler http.Handler

	// Context is the parent of those requests' contexts.
	Context context.Context

	// Encode returns an event as it is sent.
	Encode func(*store.Event) []byte

	// WriteTimeout is how long a client may take over one event or, if they
	// are small, over 64 KiB of them.
	WriteTimeout time.Duration

	// HeaderTimeout is how long a new connection may stay without a request,
	// IdleTimeout how long one that has had its answer.
	HeaderTimeout, IdleTimeout time.Duration

	Logger zerolog.Logger
}

// Lot keeps the connections of watches that wait. Its methods may be called
// from many goroutines at once.
type Lot struct {
	config   Config
	handover *handover
	closing  atomic.Bool // set under mu

	// running counts the connections and the goroutines that serve them. Only
	// who is counted already adds to it, but for enter.
	running sync.WaitGroup

	mu    sync.Mutex // taken after conn.mu where both are held
	conns map[*conn]struct{}

	queue   queue
	workers *workers
}

// New returns an empty Lot. An http.Server has to serve its Listener and, to
// be of most use, what it listens on through Admit.
func New(c Config) *Lot {
	return &Lot{
		config:   c,
		handover: newHandover(),
		conns:    map[*conn]struct{}{},
		queue:    queue{idle: runtime.GOMAXPROCS(0)},
		workers:  newWorkers(),
	}
}

// Listener returns the connections whose next request is not for the lot.
func (l *Lot) Listener() net.Listener { return l.handover }

// Admit returns a listener that lets the connections of from into the lot,
// and returns none but its errors. Those who begin with a watch, thousands of
// them perhaps at once after a restart, so never cost what net/http needs.
func (l *Lot) Admit(from net.Listener) net.Listener { return &gate{from, l} }

type gate struct {
	net.Listener
	lot *Lot
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.lot.enter() {
			_ = nc.Close()
			continue
		}
		_ = nc.SetReadDeadline(time.Now().Add(g.lot.config.HeaderTimeout)) // before Close may shorten it
		c := g.lot.newConn(nc)
		c.chunked, c.keep = true, true // as far as requests are served here
		g.lot.running.Add(1)
		go c.listen()
	}
}

// Park answers r with status 200, the headers that w has, and the events of
// watcher: with one event or, if stream is set, with all until the client goes
// or the watcher is ended. It closes the watcher. It returns at once, usually
// before any event has come; the handler must return then, too.
func (l *Lot) Park(w http.ResponseWriter, r *http.Request, watcher *watch.Watcher, stream bool) {
	if a := answerBehind(w); a != nil {
		a.park(watcher, stream)
		return
	}
	if !stream {
		if e, err := watcher.Poll(nil); e != nil || err != nil {
			watcher.Close()
			l.logFailure(err)
			l.answerNow(w, e)
			return
		}
	}
	if !l.enter() {
		watcher.Close()
		l.answerNow(w, nil)
		return
	}
	c, err := l.takeOver(w, r)
	if err != nil {
		watcher.Close()
		l.running.Done()
		return // the client is gone
	}
	c.park(nil, watcher, stream)
}

// answerNow answers with e, or with nothing if it is nil, and leaves the
// connection where it is.
func (l *Lot) answerNow(w http.ResponseWriter, e *store.Event) {
	w.Header()["Transfer-Encoding"] = chunkedEncoding // or net/http would count
	w.WriteHeader(http.StatusOK)
	if e == nil {
		return
	}
	body := e.Encoded(l.config.Encode)
	if len(body) > batchBytes {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(l.config.WriteTimeout))
	}
	_, _ = w.Write(body) // a client that is gone is of no interest
}

// logFailure says why a watch ends, unless that is to be expected.
func (l *Lot) logFailure(err error) {
	if err != nil && !errors.Is(err, watch.ErrEnded) {
		l.config.Logger.Warn().Err(err).Msg("a watch failed")
	}
}

// Close ends all watches, closes their connections and waits until that is
// done. When ctx ends first, what is left is cut off and the error is ctx's.
func (l *Lot) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closing.Store(true)
	l.mu.Unlock()
	_ = l.handover.Close()
	l.workers.release()
	for _, c := range l.all() {
		c.end()
	}
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range l.all() {
		_ = c.net.Close()
	}
	<-done
	return ctx.Err()
}

func (l *Lot) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}

// enter counts one more connection, if the lot is still open.
func (l *Lot) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Load() {
		return false
	}
	l.running.Add(1)
	return true
}

// remove takes c off the lot. Nothing happens the second time.
func (l *Lot) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; ok {
		delete(l.conns, c)
		l.running.Done()
	}
}

// queue holds the connections that may have something to send, each once.
type queue struct {
	mu         sync.Mutex
	head, tail *conn // linked by conn.next
	idle       int   // senders that are not running
}

// Wake queues c for a sender.
func (c *conn) Wake() {
	q := &c.lot.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.queued {
		return
	}
	c.queued = true
	if q.head == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
	if q.idle > 0 {
		q.idle--
		c.lot.start(job{})
	}
}

// handful is how many connections a sender takes from the queue at once.
const handful = 16

// take moves up to len(batch) connections from the queue into it. If there
// are none, a sender has to end.
func (q *queue) take(batch []*conn, sender bool) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n < len(batch) && q.head != nil {
		c := q.head
		q.head, c.next, c.queued = c.next, nil, false
		batch[n] = c
		n++
	}
	if n == 0 && sender {
		q.idle++
	}
	return n
}

// send writes what there is for a handful of connections from the queue. It
// reports whether there were any.
func (l *Lot) send(sender bool) bool {
	var batch [handful]*conn
	n := l.queue.take(batch[:], sender)
	if n == 0 {
		return false
	}
	b := takeBuffer()
	defer b.release()
	for _, c := range batch[:n] {
		c.deliver(b)
	}
	return true
}
