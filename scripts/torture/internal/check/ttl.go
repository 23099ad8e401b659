package check

import (
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Lease is a key with a time to live, as its client saw it accepted or, after that, refreshed.
type Lease struct {
	Key          string
	TTL          time.Duration
	Call, Return time.Duration // of the last that counts; Return also of one that may count

	Refreshed int
	Gone      uint64 // X-Etcd-Index of the answer that there was nothing to refresh, 0 if there was none
}

// Bounds say what is expected of expirations.
type Bounds struct {
	Late  time.Duration // at most, beside what a slow clock makes of the time to live
	Drift float64       // by which part a leader's clock may be fast or slow
}

// Expiry says that each key expired once, not before its time to live had passed since the client asked for it, and not
// later than allowed after it had passed since the answer (TTL-1, TTL-2, TTL-3). A key that could not be refreshed had expired (TTL-5).
func Expiry(leases []Lease, watcher Sequence, b Bounds) []Violation {
	expired := map[string][]history.Event{}
	for _, e := range watcher.Events {
		if e.Action == "expire" {
			expired[e.Key] = append(expired[e.Key], e)
		}
	}
	var out []Violation
	for _, l := range leases {
		got := expired[l.Key]
		if len(got) != 1 {
			out = append(out, violation("ttl", nil, "%s: %s expired %d times: %v", watcher.Watcher, l.Key, len(got), got))
			continue
		}
		at := got[0].At
		shortest, longest := time.Duration(float64(l.TTL)/(1+b.Drift)), time.Duration(float64(l.TTL)/(1-b.Drift))
		switch {
		case at < l.Call+shortest:
			out = append(out, violation("ttl", nil, "%s: %s with ttl %v expired early, %v after it was asked for", watcher.Watcher, l.Key, l.TTL, at-l.Call))
		case at > l.Return+longest+b.Late:
			out = append(out, violation("ttl", nil, "%s: %s with ttl %v expired %v late", watcher.Watcher, l.Key, l.TTL, at-l.Return-l.TTL))
		case l.Gone > 0 && l.Gone < got[0].Index:
			out = append(out, violation("ttl", nil, "%s: %s was gone at %d and expired at %d", watcher.Watcher, l.Key, l.Gone, got[0].Index))
		}
		delete(expired, l.Key)
	}
	return out
}
