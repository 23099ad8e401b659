package check

import (
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Lease is a key with a time to live, as its client saw it accepted.
type Lease struct {
	Key          string
	TTL          time.Duration
	Call, Return time.Duration
}

// Expiry says that each key expired once, not before its time to live had passed since the client asked for it, and not
// later than late after it had passed since the answer (TTL-1, TTL-2).
func Expiry(leases []Lease, watcher Sequence, late time.Duration) []Violation {
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
		switch {
		case at < l.Call+l.TTL:
			out = append(out, violation("ttl", nil, "%s: %s with ttl %v expired early, %v after it was asked for", watcher.Watcher, l.Key, l.TTL, at-l.Call))
		case at > l.Return+l.TTL+late:
			out = append(out, violation("ttl", nil, "%s: %s with ttl %v expired %v late", watcher.Watcher, l.Key, l.TTL, at-l.Return-l.TTL))
		}
		delete(expired, l.Key)
	}
	return out
}
