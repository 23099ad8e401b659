package park

import (
	"runtime"
	"sync"
)

// workers are goroutines that serve requests and send events. They are kept
// for their stacks, which have grown to what that takes: a fifth of the time
// went into growing new ones.
type workers struct {
	jobs chan job      // to those who have nothing to do
	kept chan struct{} // holds one for each of them
	done chan struct{} // closed when none is to be kept any more
	once sync.Once
}

// job is a request to serve or, without one, what is in the queue to send.
type job struct {
	conn *conn
	in   *buffer
}

func newWorkers() *workers {
	return &workers{
		jobs: make(chan job),
		kept: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		done: make(chan struct{}),
	}
}

// release ends those that have nothing to do. Jobs are done all the same.
func (w *workers) release() { w.once.Do(func() { close(w.done) }) }

// start has j done by somebody. It does not wait. The caller is counted in l.running.
func (l *Lot) start(j job) {
	select {
	case l.workers.jobs <- j:
	default:
		l.running.Add(1)
		go l.work(j)
	}
}

// work does j and then what else there is, if there are not workers enough.
// Before a request comes a handful of deliveries, or the next requests of those
// who have had theirs would hold up those who have not.
func (l *Lot) work(j job) {
	defer l.running.Done()
	for {
		if j.conn != nil {
			l.send(false)
			j.conn.serve(j.in)
		} else {
			for l.send(true) {
			}
		}
		select {
		case l.workers.kept <- struct{}{}:
		default:
			return
		}
		select {
		case j = <-l.workers.jobs:
			<-l.workers.kept
		case <-l.workers.done:
			<-l.workers.kept
			return
		}
	}
}
