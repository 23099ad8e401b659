package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// startSample is one start of a cluster, with empty directories or after kill -9.
type startSample struct {
	Workload string `json:"workload"`
	turn
	Keys      int     `json:"keys"`
	ValueSize int     `json:"value_size"`
	Round     int     `json:"round"`
	Write     float64 `json:"write_ms"`       // from exec to the first PUT that was accepted
	Read      float64 `json:"quorum_read_ms"` // from exec to the first quorum GET that was answered
	Memory    memory  `json:"memory"`         // a second after both
}

// settle is the pause after which a started or loaded server is asked for its
// memory.
const settle = time.Second

// retryPause lies between two attempts to reach a server that starts. It is
// the resolution of start times.
const retryPause = time.Millisecond

func quorumRead() shape { return shape{method: "GET", path: keyPath + "?quorum=true"} }

// firstAnswer sends s for key 0, again and again, until m answers it, and
// returns when that was. To a read 404 is an answer as well.
func (c *cluster) firstAnswer(ctx context.Context, m *member, s shape) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("no answer in time"))
	defer cancel()
	var last error
	for {
		status, err := m.attempt(ctx, s)
		if err == nil && (status/100 == 2 || status == 404 && s.method == "GET") {
			return time.Now(), nil
		}
		if err == nil {
			err = fmt.Errorf("status %d", status)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return time.Time{}, m.explain(fmt.Errorf("%s: %w; last: %w", c.product.name, context.Cause(ctx), last))
		case <-m.done:
			return time.Time{}, m.explain(fmt.Errorf("%s ended by itself: %w", c.product.name, m.err))
		case <-time.After(retryPause):
		}
	}
}

// attempt sends one request over a connection of its own.
func (m *member) attempt(ctx context.Context, s shape) (status int, err error) {
	c, err := dial(ctx, m.client)
	if err != nil {
		return 0, err
	}
	defer clients{c}.close()
	stop := context.AfterFunc(ctx, clients{c}.close)
	defer stop()
	return c.do(s.requestTo(m.client, 64))
}

// timedStart starts c and measures how long it takes until its first member
// serves.
func (c *cluster) timedStart(ctx context.Context) (s startSample, err error) {
	started := time.Now()
	if err := c.start(ctx); err != nil {
		return s, err
	}
	var written, read time.Time
	errs := make(chan error, 1)
	go func() {
		var err error
		read, err = c.firstAnswer(ctx, c.members[0], quorumRead())
		errs <- err
	}()
	written, err = c.firstAnswer(ctx, c.members[0], putKey())
	if err := errors.Join(err, <-errs); err != nil {
		return s, err
	}
	s.Server = c.product.name
	s.Write = microseconds(written.Sub(started)) / 1000
	s.Read = microseconds(read.Sub(started)) / 1000
	if err := pause(ctx, settle); err != nil {
		return s, err
	}
	s.Memory, err = c.memory()
	return s, err
}

// pause waits for d, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
