package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

const (
	// warms is how long the load runs before what members take is measured for the first time.
	warms = 3 * time.Second
	// settles is how soon they must be back there after the last cure.
	settles = 30 * time.Second
)

// usage is what each member takes now.
func (t *trial) usage(ctx context.Context) ([]check.Usage, error) {
	var out []check.Usage
	for _, m := range t.cluster.Members {
		u, err := m.Usage()
		if err != nil {
			return nil, err
		}
		c := check.Usage{Member: m.Name, Descriptors: u.Descriptors, Threads: u.Threads, RSS: u.RSS}
		if m.Seam != "" {
			if c.Goroutines, c.Heap, err = m.Seam.Runtime(ctx); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// giveBack waits until the members take hardly more than they did at the start. All harms must be cured.
func (t *trial) giveBack(ctx context.Context, start []check.Usage) error {
	until := time.Now().Add(settles)
	for {
		now, err := t.usage(ctx)
		if err != nil {
			return t.notHealed(ctx, err)
		}
		found := check.Resources(start, now)
		if len(found) > 0 && time.Now().Before(until) {
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		t.rep.violate(found...)
		t.rep.checked("members' resources", len(now))
		t.compare(start, now)
		return nil
	}
}

// compare reports the most that a member took at the start and at the end.
func (t *trial) compare(start, end []check.Usage) {
	for i, all := range [][]check.Usage{start, end} {
		var most check.Usage
		for _, u := range all {
			most = most.MoreThan(u)
		}
		when := []string{"start", "end"}[i]
		if most.Goroutines > 0 {
			t.rep.figure("goroutines at the "+when, float64(most.Goroutines))
			t.rep.figure("heap at the "+when+" MB", float64(most.Heap)/1e6)
		}
		t.rep.figure("descriptors at the "+when, float64(most.Descriptors))
		t.rep.figure("threads at the "+when, float64(most.Threads))
		t.rep.figure("resident at the "+when+" MB", float64(most.RSS)/1e6)
	}
}

// leaks is how many watches the suite leaves open in a run that must fail.
const leaks = 300

// leak opens watches of a member that nobody reads and nobody closes before the run ends.
func (t *trial) leak(ctx context.Context, m *procs.Member) error {
	var d net.Dialer
	for range leaks {
		c, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(m.Client, "http://"))
		if err != nil {
			return fmt.Errorf("leak: %w", err)
		}
		t.cleanups = append(t.cleanups, func() { _ = c.Close() })
		if _, err := c.Write([]byte("GET /v2/keys/leak?wait=true HTTP/1.1\r\nHost: leak\r\n\r\n")); err != nil {
			return fmt.Errorf("leak: %w", err)
		}
	}
	return nil
}
