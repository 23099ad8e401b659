package main

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// watcher is one watch that is open on both servers.
type watcher struct {
	step  step
	spec  watching
	reqs  [2]request
	feeds [2]*feed
}

// feed collects what one server sends to a watch.
type feed struct {
	conn conn

	mu      sync.Mutex
	events  []string // whole lines
	ended   bool     // the server ended the body
	changed time.Time
}

// openWatch starts a watch on both servers and compares how they accept it. The
// watcher is nil if they answered with an error, which is then in the exchange
// like that of any other request.
func (p *pair) openWatch(s step, reqs [2]request) (*watcher, *exchange) {
	x := &exchange{step: s, reqs: reqs}
	w := &watcher{step: s, reqs: x.reqs}
	for i, side := range p.sides {
		w.feeds[i] = &feed{conn: conn{addr: side.addr}, changed: time.Now()}
		x.answers[i] = w.feeds[i].open(x.reqs[i])
	}
	if x.answers[left].status != 200 || x.answers[right].status != 200 {
		w.close()
		return nil, x
	}
	w.spec = p.watchingOf(x)
	return w, x
}

// open sends the request. If it is accepted, the events are collected until
// the feed is closed; an error answer is read at once.
func (f *feed) open(r request) answer {
	if err := f.conn.send(r, waitTimeout); err != nil {
		return answer{err: err}
	}
	resp, a := f.conn.head(r.method)
	if a.err != nil {
		return a
	}
	if a.status != 200 {
		a.body, a.err = io.ReadAll(resp.Body)
		return a
	}
	if a.err = f.conn.c.SetDeadline(time.Time{}); a.err == nil {
		go f.collect(bufio.NewReader(resp.Body))
	}
	return a
}

func (f *feed) collect(body *bufio.Reader) {
	for {
		line, err := body.ReadString('\n')
		f.mu.Lock()
		f.changed = time.Now()
		if line != "" {
			f.events = append(f.events, line)
		}
		f.ended = err != nil
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (f *feed) seen() (events []string, ended bool, changed time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events), f.ended, f.changed
}

// close ends the watch from the client's side; collect ends by itself then.
func (w *watcher) close() {
	for _, f := range w.feeds {
		if f.conn.c != nil {
			_ = f.conn.c.Close() // collect may still be using the connection
		}
	}
}

// watchingOf says in the left server's terms what the watch is waiting for.
func (p *pair) watchingOf(x *exchange) watching {
	r := x.reqs[left]
	key, _ := keyOf(r)
	accepted, _ := strconv.ParseUint(x.answers[left].header.Get("X-Etcd-Index"), 10, 64)
	from, _ := strconv.ParseUint(r.parameter("waitIndex"), 10, 64)
	w := watching{
		key: key, from: from, past: from != 0 && from <= accepted,
		recursive: isTrue(r.parameter("recursive")), stream: isTrue(r.parameter("stream")),
	}
	if from == 0 {
		w.from = accepted + 1
	}
	return w
}

// How long the servers are given to deliver, and how long they must be silent
// before the events are taken to be all.
const (
	deliverTimeout = 3 * time.Second
	quiet          = 6 * time.Millisecond
	quietInDoubt   = 40 * time.Millisecond
)

// settle waits until both servers have sent all they have to send to the
// watchers: what the journal expects, or the same number of events on both
// sides, and nothing after that for a moment.
func (p *pair) settle(watchers []*watcher) {
	start := time.Now()
	for _, w := range watchers {
		expected := len(p.journal.seenBy(w.spec))
		for time.Since(start) < deliverTimeout && !w.settled(expected, time.Since(start)) {
			time.Sleep(500 * time.Microsecond)
		}
	}
}

// settled is to be asked again until it says true; the last write was answered
// at least as long ago as waited.
func (w *watcher) settled(expected int, waited time.Duration) bool {
	l, lended, lchanged := w.feeds[left].seen()
	r, rended, rchanged := w.feeds[right].seen()
	silence := min(waited, time.Since(lchanged), time.Since(rchanged))
	if len(r) == expected && rended == (!w.spec.stream && expected == 1) {
		if len(l) == expected && lended == rended {
			return silence > quiet
		}
		// The left side may be held up, or never deliver: only the known
		// defects of etcd's history and streams explain the latter.
		return silence > quietInDoubt && (w.spec.past || len(l) > expected)
	}
	return len(l) == len(r) && lended == rended && silence > quietInDoubt
}

// compareWatch compares what both servers have sent until now.
func (p *pair) compareWatch(w *watcher) *comparer {
	c := p.comparerFor(w.reqs)
	l, lended, _ := w.feeds[left].seen()
	r, rended, _ := w.feeds[right].seen()
	lo, ro := outlines(l), outlines(r)
	switch {
	case slices.Equal(lo, ro):
		p.compareEvents(c, l, r)
	case slices.Equal(slices.Sorted(slices.Values(lo)), slices.Sorted(slices.Values(ro))):
		c.add("watch:order", "%v against %v", lo, ro)
	case len(lo) > len(ro):
		c.add("watch:missing", "%v against %v", lo, ro)
	case len(lo) < len(ro):
		c.add("watch:extra", "%v against %v", lo, ro)
	default:
		c.add("watch:other", "%v against %v", lo, ro)
	}
	if lended != rended {
		c.add("watch:end", "ended %t against %t", lended, rended)
	}
	return c
}

func (p *pair) compareEvents(c *comparer, l, r []string) {
	for i := range l {
		c.bodies(l[i], r[i])
	}
	for i, d := range c.diffs {
		c.diffs[i].class = strings.Replace(d.class, "body:", "watch:", 1)
	}
}

// outlines says of each event what it is about without its indexes, so that
// only like is compared with like and no index is mapped to a stranger's.
func outlines(events []string) []string {
	all := make([]string, 0, len(events))
	for _, line := range events {
		t, err := parseTree(strings.TrimSuffix(line, "\n"))
		if err != nil {
			all = append(all, line)
			continue
		}
		node, _ := t.get("node")
		parts := strings.Split(node.text("key"), "/")
		for i, part := range parts {
			if _, ok := inOrderName(part); ok {
				parts[i] = "#"
			}
		}
		all = append(all, t.text("action")+" "+strings.Join(parts, "/"))
	}
	return all
}
