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
	request request
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

// do sends the request as it is and returns the status of the answer.
func (c *client) do() (status int, err error) {
	if _, err := c.conn.Write(c.request.bytes); err != nil {
		return 0, err
	}
	return c.answers.next()
}

// run sends requests until the given time or until there is no key left. The
// end of one is the beginning of the next, so the clock is read once for each.
func (c *client) run(until time.Time) error {
	if err := c.conn.SetDeadline(until.Add(requestTimeout)); err != nil {
		return err
	}
	for now := time.Now(); now.Before(until); {
		key, more := c.pick()
		if !more {
			return nil
		}
		c.request.setKey(key)
		status, err := c.do()
		if err != nil {
			return err
		}
		answered := time.Now()
		if status/100 == 2 {
			c.latency.add(answered.Sub(now))
		} else {
			c.refused++
			c.example = status
		}
		now = answered
	}
	return nil
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

// prepare sets what the connections will send.
func (cs clients) prepare(w workload, valueSize int, pickerOf func(i int) picker) {
	for i, c := range cs {
		c.request = w.requestTo(c.conn.RemoteAddr().String(), valueSize)
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
		c.latency, c.refused = histogram{}, 0
		wg.Go(func() { errs[i] = c.run(until) })
	}
	wg.Wait()
	o := outcome{elapsed: time.Since(started)}
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	for _, c := range cs {
		o.latency.merge(&c.latency)
		o.refused += c.refused
		if c.refused > 0 {
			o.example = c.example
		}
	}
	if err := errors.Join(errs...); err != nil {
		return o, fmt.Errorf("connection: %w", err)
	}
	return o, nil
}

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
