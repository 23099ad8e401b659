package gateway

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"
)

// line is the order in which members are tried. A request goes to the first;
// who fails goes to the end. So clients stay with one member for as long as it
// is well, and do not see it move back and forth between members of which one
// may know less than the other. Every gateway has an order of its own.
type line struct {
	wait time.Duration // how long one that failed is left alone

	mu        sync.Mutex
	endpoints []endpoint
}

// endpoint is a client URL of a member.
type endpoint struct {
	url    url.URL
	failed time.Time // zero if it never did
}

// update makes urls the members. Those that are known keep their places,
// others come to a random one, so that gateways spread evenly over members. It
// reports whether anything has changed.
func (l *line) update(urls []url.URL) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.endpoints)
	l.endpoints = slices.DeleteFunc(l.endpoints, func(e endpoint) bool { return !slices.Contains(urls, e.url) })
	changed := len(l.endpoints) < before
	for _, u := range urls {
		if l.indexLocked(u) < 0 {
			l.endpoints = slices.Insert(l.endpoints, rand.IntN(len(l.endpoints)+1), endpoint{url: u})
			changed = true
		}
	}
	return changed
}

// candidates returns whom to try, the best first. Those that are left alone
// come last: they are for requests that nobody else answers. (etcd's proxy
// does not try them at all, and has nothing to say for five seconds after its
// only member was restarted.)
func (l *line) candidates() []url.URL {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	all := make([]url.URL, 0, len(l.endpoints))
	for _, alone := range []bool{false, true} {
		for _, e := range l.endpoints {
			if l.leftAlone(e, now) == alone {
				all = append(all, e.url)
			}
		}
	}
	return all
}

func (l *line) leftAlone(e endpoint, now time.Time) bool {
	return !e.failed.IsZero() && now.Sub(e.failed) < l.wait
}

// fail sends u to the end of the line and leaves it alone for a while.
func (l *line) fail(u url.URL) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.indexLocked(u)
	now := time.Now()
	if i < 0 || l.leftAlone(l.endpoints[i], now) { // of many requests that failed at once the first has done it
		return
	}
	l.endpoints = append(slices.Delete(l.endpoints, i, i+1), endpoint{url: u, failed: now})
}

func (l *line) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.endpoints) == 0
}

func (l *line) indexLocked(u url.URL) int {
	return slices.IndexFunc(l.endpoints, func(e endpoint) bool { return e.url == u })
}
