package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// limitHarms take from a member what it runs on: processor time, memory, descriptors.
func limitHarms() family {
	return family{name: "limits", harms: []harm{
		{kind: "starved", weight: 4, low: 500 * time.Millisecond, high: 6 * time.Second, strike: starved},
		{kind: "memory", weight: 2, low: 500 * time.Millisecond, high: 3 * time.Second, strike: squeezed},
		{kind: "descriptors", weight: 3, low: 500 * time.Millisecond, high: 4 * time.Second, strike: flooded},
	}}
}

// starved lets a member have 10 to 20 % of a processor: by a quota of the kernel, or by stopping it most of the time.
func starved(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, err := s.victim("starved")
	if err != nil {
		return nil, err
	}
	share := 0.10 + 0.10*s.rng.Float64()
	end, err := throttle(m, share)
	if err != nil {
		s.say("no quota of processor time here (%v): %s is stopped in turns", err, m.Name)
		turns, err := inTurns(m, share)
		if err != nil {
			s.release(m)
			return nil, err
		}
		return s.fed(m, turns), nil
	}
	s.cleanups = append(s.cleanups, func() { _ = end.lift() }) // of a run that breaks off
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		if end.throttled() {
			s.say("%s gets %.0f %% of a processor", m.Name, 100*share)
			return s.fed(m, end.lift), nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, errors.Join(err, end.lift())
		}
	}
	s.release(m)
	if err := end.lift(); err != nil {
		return nil, err
	}
	return nil, errSpared
}

// fed is a cure that ends a shortage.
func (s *storm) fed(m *procs.Member, end func() error) func(context.Context) error {
	return func(context.Context) error {
		s.release(m)
		return end()
	}
}

// inTurns lets a member run for its share of each tenth of a second.
func inTurns(m *procs.Member, share float64) (func() error, error) {
	if err := m.Pause(); err != nil {
		return nil, err
	}
	const turn = 100 * time.Millisecond
	pid := m.Pid()
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for s, wait := syscall.SIGCONT, time.Duration((1-share)*float64(turn)); ; {
			select {
			case <-stop:
				return
			case <-time.After(wait):
			}
			_ = syscall.Kill(pid, s) // nobody else ends it meanwhile
			if wait = turn - wait; s == syscall.SIGCONT {
				s = syscall.SIGSTOP
			} else {
				s = syscall.SIGCONT
			}
		}
	})
	return func() error {
		close(stop)
		done.Wait()
		return m.Resume()
	}, nil
}

// squeezed leaves a member hardly more memory than it uses. That the kernel kills it for that is an end as by kill -9, and noted.
func squeezed(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, err := s.victim("memory")
	if err != nil {
		return nil, err
	}
	b, err := confine(m)
	if err != nil {
		s.release(m)
		s.say("no limit of memory here: %v", err)
		return nil, errSpared
	}
	s.cleanups = append(s.cleanups, func() { _ = b.lift() }) // of a run that breaks off
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		if !m.Running() || b.refused() {
			s.say("%s gets %d MiB more and that is all", m.Name, headroom>>20)
			return s.relieved(m, b), nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, errors.Join(err, b.lift())
		}
	}
	return nil, errors.Join(errSpared, s.relieved(m, b)(ctx))
}

// relieved is a cure that gives a member memory again, and starts it if the kernel has killed it.
func (s *storm) relieved(m *procs.Member, b *bounds) func(context.Context) error {
	return func(ctx context.Context) error {
		// It may be about to end.
		if err := errors.Join(b.lift(), pause(ctx, 50*time.Millisecond)); err != nil {
			return err
		}
		if m.Running() {
			s.release(m)
			return nil
		}
		status, err := m.Ended(ctx)
		if err != nil {
			return err
		}
		s.say("%s had to end, status %d", m.Name, status)
		if status != killedBySignal {
			s.rep.violate(check.Violation{Check: "limits", Detail: fmt.Sprintf("%s ended with status %d for want of memory: only the kernel may end it", m.Name, status)})
		}
		s.rep.checked("out of memory", 1)
		s.release(m)
		return m.Start()
	}
}

const killedBySignal = -1

const (
	spare    = 10              // descriptors a member has left when the flood comes
	floods   = 300             // connections of a flood
	recovers = 5 * time.Second // how soon it serves when it has descriptors again (SEC-D3)
)

// flooded leaves a member a few descriptors and lets clients ask for them, until it has none or takes no more clients.
func flooded(ctx context.Context, s *storm) (func(context.Context) error, error) {
	m, err := s.victim("descriptors")
	if err != nil {
		return nil, err
	}
	open, err := m.Descriptors()
	if err != nil || open < s.files || m.Answers(ctx, 100*time.Millisecond) != nil { // one that is starting has not opened all it needs
		s.release(m)
		return nil, errSpared
	}
	limit := open + spare
	before, err := m.LimitDescriptors(limit)
	if err != nil {
		s.release(m)
		return nil, err
	}
	conns := flood(ctx, m)
	lift := func() error {
		for _, c := range conns {
			_ = c.Close()
		}
		_, err := m.LimitDescriptors(before)
		return err
	}
	for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until); {
		if n, err := m.Descriptors(); err == nil && n >= limit || m.Answers(ctx, 100*time.Millisecond) != nil {
			s.say("%s may open %d files, has %d, and %d connections ask for more", m.Name, limit, n, len(conns))
			return s.drained(m, lift), nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, errors.Join(err, lift())
		}
	}
	s.release(m)
	if err := lift(); err != nil {
		return nil, err
	}
	return nil, errSpared
}

// flood makes connections to a member that say half a request. The kernel accepts them, whether or not the member does.
func flood(ctx context.Context, m *procs.Member) []net.Conn {
	var conns []net.Conn
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	for range floods {
		c, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(m.Client, "http://"))
		if err != nil {
			break
		}
		_, _ = c.Write([]byte("GET /v2/keys/ HTTP/1.1\r\n"))
		conns = append(conns, c)
	}
	return conns
}

// drained is a cure that lets a member have descriptors again, and sees that it soon serves.
func (s *storm) drained(m *procs.Member, lift func() error) func(context.Context) error {
	var since time.Time
	return func(ctx context.Context) error {
		if !m.Running() {
			s.release(m)
			return m.Start() // that it ended is a complaint already
		}
		if since.IsZero() {
			since = time.Now()
			if err := lift(); err != nil {
				return err
			}
		}
		err := m.Answers(ctx, time.Second)
		took := time.Since(since)
		if err != nil && took < heals {
			return errNotYet
		}
		s.rep.worst("served after a flood, worst s", took.Seconds())
		if took > recovers {
			s.rep.violate(check.Violation{Check: "limits", Detail: fmt.Sprintf("%s served %v after it had descriptors again (%v)", m.Name, took, err)})
		}
		s.release(m)
		return nil
	}
}
