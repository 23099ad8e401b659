package history

import (
	"sync"
	"time"
)

// Clock is the run's monotonic clock.
type Clock struct{ start time.Time }

// NewClock starts a clock.
func NewClock() Clock { return Clock{start: time.Now()} }

// Now is the time since the clock was started.
func (c Clock) Now() time.Duration { return time.Since(c.start) }

// Recorder collects the operations of all clients. It is safe for concurrent use.
type Recorder struct {
	Clock Clock

	mu  sync.Mutex
	ops []*Op
}

// NewRecorder returns an empty recorder with its own clock.
func NewRecorder() *Recorder { return &Recorder{Clock: NewClock()} }

// Add keeps an operation that has ended, or whose end nobody will see.
func (r *Recorder) Add(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// Ops are the operations so far, in the order in which they ended.
func (r *Recorder) Ops() []*Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Op(nil), r.ops...)
}

// Highest is the largest index any acknowledged write was given.
func (r *Recorder) Highest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var highest uint64
	for _, op := range r.ops {
		if op.Outcome == OK && op.Kind.Writes() {
			highest = max(highest, op.Index)
		}
	}
	return highest
}
