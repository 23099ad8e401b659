package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// requestTimeout bounds the wait for one answer beyond the end of a load.
const requestTimeout = 15 * time.Second

// client is one connection that sends one request after the other.
type client struct {
	conn    net.Conn
	answers *responses
	cycle   []request // sent one after the other, again and again
	turn    int       // the one of cycle that comes next
	pick    picker

	latency histogram // of the answers with a status of 200 to 299
	refused int       // other answers
	example int       // the status of the last of them
}

func dial(ctx context.Context, addr string) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, answers: newResponses(conn)}, nil
}

// do sends r as it is and returns the status of the answer.
func (c *client) do(r request) (status int, err error) {
	if _, err := c.conn.Write(r.bytes); err != nil {
		return 0, err
	}
	return c.answers.next()
}

// next returns the next request of the cycle, for a key of its own choice.
func (c *client) next() (r request, more bool) {
	key, more := c.pick()
	r = c.cycle[c.turn]
	c.turn = (c.turn + 1) % len(c.cycle)
	r.setKey(key)
	return r, more
}

// run sends requests until the given time or until there is no key left. The
// end of one is the beginning of the next, so the clock is read once for each.
func (c *client) run(until time.Time) error {
	if err := c.conn.SetDeadline(until.Add(requestTimeout)); err != nil {
		return err
	}
	for now := time.Now(); now.Before(until); {
		r, more := c.next()
		if !more {
			return nil
		}
		status, err := c.do(r)
		if err != nil {
			return err
		}
		answered := time.Now()
		c.count(status, answered.Sub(now))
		now = answered
	}
	return nil
}

// count enters an answer that took so long.
func (c *client) count(status int, took time.Duration) {
	if status/100 == 2 {
		c.latency.add(took)
		return
	}
	c.refused++
	c.example = status
}

// once sends a request of its own and wants it accepted.
func (c *client) once(s shape, key uint64, valueSize int) error {
	r := s.requestTo(c.conn.RemoteAddr().String(), valueSize)
	r.setKey(key)
	if err := c.conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	status, err := c.do(r)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%s was answered with status %d", s.method, status)
	}
	return err
}

// clients are connections that are used together.
type clients []*client

// dialAll opens n connections, spread evenly over addrs.
func dialAll(ctx context.Context, addrs []string, n int) (clients, error) {
	var all clients
	for i := range n {
		c, err := dial(ctx, addrs[i%len(addrs)])
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// prepare sets what the connections will send. They begin at different places
// of the cycle unless it has to be kept from its beginning.
func (cs clients) prepare(cycle []shape, inOrder bool, valueSize int, pickerOf func(i int) picker) {
	for i, c := range cs {
		c.cycle = nil
		for _, s := range cycle {
			c.cycle = append(c.cycle, s.requestTo(c.conn.RemoteAddr().String(), valueSize))
		}
		c.turn = 0
		if !inOrder {
			c.turn = i % len(cycle)
		}
		c.pick = pickerOf(i)
	}
}

// run drives all connections until the given time and returns what they saw.
// The counts of an earlier run are forgotten.
func (cs clients) run(ctx context.Context, until time.Time) (outcome, error) {
	stop := context.AfterFunc(ctx, cs.close)
	defer stop()
	errs := make([]error, len(cs))
	var wg sync.WaitGroup
	started := time.Now()
	for i, c := range cs {
		c.forget()
		wg.Go(func() { errs[i] = c.run(until) })
	}
	wg.Wait()
	o := cs.outcome(time.Since(started))
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	if err := errors.Join(errs...); err != nil {
		return o, fmt.Errorf("connection: %w", err)
	}
	return o, nil
}

// outcome sums up what the connections have counted.
func (cs clients) outcome(elapsed time.Duration) outcome {
	o := outcome{elapsed: elapsed}
	for _, c := range cs {
		o.latency.merge(&c.latency)
		o.refused += c.refused
		if c.refused > 0 {
			o.example = c.example
		}
	}
	return o
}

// forget sets the counts to zero.
func (c *client) forget() { c.latency, c.refused = histogram{}, 0 }

func (cs clients) close() {
	for _, c := range cs {
		_ = c.conn.Close() // it has done its duty
	}
}

// outcome is what connections saw in one run.
type outcome struct {
	elapsed time.Duration
	latency histogram
	refused int
	example int // a status that was counted in refused
}
