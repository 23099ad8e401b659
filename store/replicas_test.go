package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

// TestReplicasAgree applies one log to replicas that are treated differently
// and checks that they end in the same state, by hash and by all they show.
func TestReplicasAgree(t *testing.T) {
	const entries = 3000
	treatments := map[string]struct {
		flush time.Duration
		every uint64
		do    func(r *replica)
	}{
		"written at once":   {time.Millisecond, entries + 1, nil},
		"never written":     {never, entries + 1, nil},
		"reopened":          {10 * time.Millisecond, 500, (*replica).reopen},
		"crashed":           {5 * time.Millisecond, 500, (*replica).crash},
		"moved by snapshot": {5 * time.Millisecond, 700, (*replica).move},
	}
	root := t.TempDir()
	var first *replica
	for name, treatment := range treatments {
		r := newReplica(t, root, store.Options{Groups: 4, Group: 2, FirstIndex: 7, History: 300, FlushInterval: treatment.flush})
		defer func() { r.close() }()
		for n := uint64(1); n <= entries; n++ {
			c := logEntry(n)
			c.Floor = n / 100 * 1000
			if c.Op == store.OpAdvance {
				c = store.Command{Op: store.OpAdvance, Step: int64(store.Tick)}
				c.Clock, _ = r.Clock()
			}
			r.apply(c)
			if n%treatment.every == 0 {
				treatment.do(r)
			}
		}
		if first == nil {
			first = r
			continue
		}
		compareDigests(t, r.Store, first.Store)
		if diff := cmp.Diff(first.dump(), r.dump()); diff != "" {
			t.Errorf("%s differs:\n%s", name, diff)
		}
	}
}

// TestDigestTellsDifferences checks that the running hash sees what it should.
func TestDigestTellsDifferences(t *testing.T) {
	base := store.Command{Op: store.OpSet, Key: store.ParseKey("/a"), Value: "v"}
	changes := map[string]func(c *store.Command){
		"value":   func(c *store.Command) { c.Value = "w" },
		"key":     func(c *store.Command) { c.Key = store.ParseKey("/b") },
		"dir":     func(c *store.Command) { c.Dir = true },
		"ttl":     func(c *store.Command) { c.HasTTL = true },
		"floor":   func(c *store.Command) { c.Floor = 10 },
		"op":      func(c *store.Command) { c.Op = store.OpCreate },
		"refused": func(c *store.Command) { c.Op = store.OpUpdate },
	}
	hash := func(c store.Command) uint64 {
		r := newReplica(t, t.TempDir(), store.Options{Groups: 1, FirstIndex: 3, FlushInterval: never})
		defer r.close()
		r.apply(c)
		_, _, h := r.Digest()
		return h
	}
	same, other := hash(base), map[uint64]string{}
	if hash(base) != same {
		t.Error("equal commands have different hashes")
	}
	other[same] = "base"
	for name, change := range changes {
		c := base
		change(&c)
		h := hash(c)
		if twin, ok := other[h]; ok {
			t.Errorf("%s and %s have the same hash", name, twin)
		}
		other[h] = name
	}
}
