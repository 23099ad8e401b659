package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/witan-kv/witan/cluster"
)

// limitMemory sets the soft limit of the Go heap unless GOMEMLIMIT does: what
// raft and its log need under full load, or the cache of a large tree, and the two
// caches of every group's database. Without a limit the heap was measured to
// grow to four times that.
//
// The limit gives way to a heap that is in use. Badger takes hundreds of
// megabytes to compact large values, and a collector that can only run again
// and again would take half of the processors: a PUT of 64 KiB costs 4,600 µs of
// CPU with a fixed limit and 2,800 with this one, in turn.
//
// What a burst of writes has left goes back to the system half a minute later.
//
// The function that is returned leaves the limit where it is then.
func limitMemory(groups int) (stop func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	l := memoryLimit{least: 256<<20 + int64(groups)*(16<<20)}
	l.set(l.least)
	done := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { l.follow(done) })
	return func() {
		close(done)
		following.Wait()
	}
}

// memoryLimit is the limit of the Go heap, bytes.
type memoryLimit struct {
	least, now int64
}

// memoryEvery is how often the limit is reckoned anew.
const memoryEvery = 500 * time.Millisecond

func (l *memoryLimit) follow(done <-chan struct{}) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"} /* after the last collection */, {Name: "/gc/heap/allocs:bytes"}}
	var lull lull
	for {
		select {
		case <-ticker.C:
			metrics.Read(heap)
			if want := l.limitFor(int64(heap[0].Value.Uint64())); want != l.now {
				l.set(want)
			}
			if lull.begins(heap[1].Value.Uint64()) {
				debug.FreeOSMemory()
			}
		case <-done:
			return
		}
	}
}

// limitFor returns the limit for a heap of which so many bytes are in use: an eighth
// more, in steps, so that it does not change all the time. With a half more a
// million keys took 507 MiB instead of 300, for no less CPU.
func (l *memoryLimit) limitFor(live int64) int64 {
	const step = 16 << 20
	return max(l.least, (live+live/8+step-1)/step*step)
}

func (l *memoryLimit) set(limit int64) {
	l.now = limit
	debug.SetMemoryLimit(limit)
}

// cacheBytes is how much of the tree is kept in memory: the usual, or half of
// the limit of the Go heap, should somebody have set a low one.
func cacheBytes() int64 { return min(cluster.DefaultConfig().CacheBytes, debug.SetMemoryLimit(-1)/2) }

// lull tells when little is allocated any more after much was. Badger keeps the
// buffers of its compactions for so long, and Go collects them when it
// next needs memory, or after two minutes: a million keys of 1 KB just written
// were 900 MiB, of which 300 are used.
type lull struct {
	done  uint64 // what had been allocated in all when the last lull was told of
	since uint64 // and when quiet began
	quiet time.Duration
}

// begins is told every memoryEvery how much has been allocated in all, bytes.
func (l *lull) begins(allocated uint64) bool {
	const burst, little, after = 64 << 20, 8 << 20, 20 * time.Second
	l.quiet += memoryEvery
	if allocated-l.since > little {
		l.since, l.quiet = allocated, 0
	}
	if l.quiet < after || allocated-l.done < burst {
		return false
	}
	l.done = allocated
	return true
}
