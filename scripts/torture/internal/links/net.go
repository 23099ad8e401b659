package links

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Net is the fronts of all members of a cluster and the rules between them. Its methods may be called concurrently.
type Net struct {
	now atomic.Pointer[state]
	wg  sync.WaitGroup

	mu     sync.Mutex
	layers map[*Layer]struct{}
	names  map[string]string // id to member; replaced, never changed
	fronts map[string][]net.Listener
	conns  map[*conn]struct{}
	links  map[Pair]*link
	closed bool
}

// New returns a network without members.
func New() *Net {
	n := &Net{
		layers: map[*Layer]struct{}{}, names: map[string]string{}, fronts: map[string][]net.Listener{},
		conns: map[*conn]struct{}{}, links: map[Pair]*link{},
	}
	n.now.Store(newState(nil, nil, nil))
	return n
}

// Counts is what happened to the bytes of one direction, and to connections in it.
type Counts struct {
	Passed, Dropped, Held, Late int64 // bytes
	Reset, Unheard              int64 // connections refused or broken, ends kept back
}

// Bitten is a number that grows when a rule or Orphan took effect.
func (c Counts) Bitten() int64 { return c.Dropped + c.Held + c.Late + c.Reset + c.Unheard }

// link is one direction between two members, over all connections.
type link struct {
	passed, dropped, held, late, reset, unheard atomic.Int64

	mu   sync.Mutex
	free time.Time // when the bytes before have passed, where there is a Rate
}

// Front listens at an address, for a member that listens at target. A member may have several.
func (n *Net) Front(member, listen, target string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.Join(net.ErrClosed, l.Close())
	}
	n.fronts[member] = append(n.fronts[member], l)
	n.changeLocked()
	n.wg.Go(func() { n.accept(member, l, target) })
	return nil
}

func (n *Net) accept(member string, l net.Listener, target string) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptors: later perhaps
			continue
		}
		c := newConn(n, member, target, client.(*net.TCPConn))
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			c.reset()
			return
		}
		n.conns[c] = struct{}{}
		n.wg.Go(c.run)
		n.mu.Unlock()
	}
}

func (n *Net) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// Know tells which members the ids stand for that connections name. What was told before still holds.
func (n *Net) Know(ids map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := maps.Clone(n.names)
	maps.Copy(names, ids)
	if !maps.Equal(names, n.names) {
		n.names = names
		n.changeLocked()
	}
}

// Lay adds a harm to those there are. The returned function takes it off again; it may be called more than once.
func (n *Net) Lay(l Layer) (lift func()) {
	l = maps.Clone(l)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.layers[&l] = struct{}{}
	n.changeLocked()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, ok := n.layers[&l]; ok {
			delete(n.layers, &l)
			n.changeLocked()
		}
	}
}

// changeLocked makes the rules anew and breaks the connections that cannot go on under them.
func (n *Net) changeLocked() {
	old := n.now.Load()
	n.now.Store(newState(n.layers, n.names, slices.Collect(maps.Keys(n.fronts))))
	close(old.changed)
	for c := range n.conns {
		c.review()
	}
}

// Orphan lets the connections there are between two members lose their other end without a word, as when a
// middlebox forgets them: what is sent vanishes for ever, and new ones pass. It returns how many there were.
func (n *Net) Orphan(a, b string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := 0
	for c := range n.conns {
		from := n.names[c.sender()]
		if (from == a && c.member == b) || (from == b && c.member == a) {
			c.orphan.Store(true)
			found++
		}
	}
	return found
}

// Counts of one direction so far.
func (n *Net) Counts(p Pair) Counts {
	l := n.link(p)
	return Counts{
		Passed: l.passed.Load(), Dropped: l.dropped.Load(), Held: l.held.Load(), Late: l.late.Load(),
		Reset: l.reset.Load(), Unheard: l.unheard.Load(),
	}
}

func (n *Net) link(p Pair) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[p]
	if l == nil {
		l = &link{}
		n.links[p] = l
	}
	return l
}

// Close ends all connections and waits until nothing runs any more.
func (n *Net) Close() {
	n.mu.Lock()
	n.closed = true
	for _, fronts := range n.fronts {
		for _, l := range fronts {
			_ = l.Close()
		}
	}
	for c := range n.conns {
		c.reset()
	}
	n.mu.Unlock()
	n.wg.Wait()
}
