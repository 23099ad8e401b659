package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// watcher follows every change of the tree over all faults: after each cut it resumes behind the last event it was told of,
// on its own member or on the next.
type watcher struct {
	name   string
	clock  history.Clock
	roster *roster
	at     int // number in the roster
	pinned bool
	stream bool
	lie    api.Lie
	stop   context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	next uint64 // waitIndex of the next attempt; 0 is from now on
	seq  check.Sequence
	ups  int // accepted watches
	news chan struct{}
}

// watchSpec says what kind of watcher to start.
type watchSpec struct {
	member         int
	pinned, stream bool
	from           uint64
}

// startWatcher starts a watcher, which runs until the trial closes or its stop is called.
func (t *trial) startWatcher(ctx context.Context, s watchSpec) *watcher {
	kind := "poll"
	if s.stream {
		kind = "stream"
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{
		name: fmt.Sprintf("%s@m%d", kind, s.member), clock: t.rec.Clock, roster: t.roster, at: s.member, pinned: s.pinned, stream: s.stream,
		lie: t.opt.lie, stop: stop, done: make(chan struct{}), next: s.from, news: make(chan struct{}, 1),
	}
	w.seq.Watcher, w.seq.From = w.name, s.from
	go w.run(ctx)
	t.cleanups = append(t.cleanups, w.end)
	return w
}

func (w *watcher) end() {
	w.stop()
	<-w.done
}

// retire ends the watcher for good. What it was told so far still counts.
func (w *watcher) retire() {
	w.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq.Until = 1 // it was told of nothing yet, and nothing is asked of it
	if n := len(w.seq.Events); n > 0 {
		w.seq.Until = w.seq.Events[n-1].Index
	}
}

// idle is how long a watch may be silent before the watcher asks again, in case its member hangs.
const idle = 3 * time.Second

func (w *watcher) run(ctx context.Context) {
	defer close(w.done)
	var client *api.Client
	for ctx.Err() == nil {
		if client == nil {
			client = api.NewClient(w.roster.url(w.at), time.Second)
			client.Lie = w.lie
		}
		if w.once(ctx, client) {
			continue
		}
		client.Close()
		client = nil
		if !w.pinned {
			w.at = w.roster.after(w.at)
		}
		_ = pause(ctx, 20*time.Millisecond)
	}
	if client != nil {
		client.Close()
	}
}

// once makes one watch and says whether it went well enough to ask the same member again.
func (w *watcher) once(ctx context.Context, client *api.Client) bool {
	w.mu.Lock()
	from := w.next
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(idle, cancel)
	defer silence.Stop()
	told := 0
	err := client.Watch(ctx, api.Watch{Key: "/", From: from, Recursive: true, Stream: w.stream}, w.accepted, func(e history.Event) bool {
		silence.Reset(idle)
		told++
		w.tell(e)
		return true
	})
	if errors.Is(err, api.ErrCleared) {
		w.gap(err)
	}
	return err == nil && told > 0
}

func (w *watcher) accepted(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ups++
	if w.next == 0 {
		w.next = index + 1 // resume here when it ends without an event
	}
}

func (w *watcher) tell(e history.Event) {
	e.At = w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq.Events = append(w.seq.Events, e)
	w.next = e.Index + 1
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watcher) gap(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq.Gaps = append(w.seq.Gaps, fmt.Sprintf("%s from %d: %v", w.name, w.next, err))
	w.next = 0
}

// sequence is what the watcher was told so far.
func (w *watcher) sequence() check.Sequence {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seq
	s.Events = append([]history.Event(nil), w.seq.Events...)
	return s
}

// reach waits until the watcher was told of an event of at least that index, unless it has retired.
func (w *watcher) reach(ctx context.Context, index uint64) error {
	for {
		w.mu.Lock()
		n := len(w.seq.Events)
		var last uint64
		if n > 0 {
			last = w.seq.Events[n-1].Index
		}
		retired := w.seq.Until > 0
		w.mu.Unlock()
		if retired || last >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was told of %d events up to %d, not of %d: %w", w.name, n, last, index, ctx.Err())
		case <-w.news:
		}
	}
}
