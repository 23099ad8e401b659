package store

// recent remembers the newest versions of places that were read or written
// lately, so that they need not be looked up in Badger: a PUT reads the node it
// replaces, and what is written is soon read. It is guarded by kv.mu.
//
// Invariant: what it has of a place that is not in the overlay is the newest
// version there is. So the committer enters a generation before it drops it,
// and a reader what it has read only if nothing can have changed meanwhile.
//
// Measured: a GET of a small key costs the whole server a tenth less CPU. Of
// what a PUT costs beside HTTP it saves a quarter (cluster.BenchmarkPut);
// in the whole server, that is hardly more than the noise.
type recent struct {
	young, old map[string]version
	bytes      int64 // of young
}

// recentBytes bounds what a group remembers, in each of the two maps.
const recentBytes = 2 << 20

func newRecent() recent { return recent{young: make(map[string]version)} }

func (r *recent) get(place []byte) (version, bool) {
	if v, ok := r.young[string(place)]; ok {
		return v, true
	}
	v, ok := r.old[string(place)]
	return v, ok
}

// put enters the newest version of a place. When there are too many, those
// that were not entered again lately go.
func (r *recent) put(place string, v version) {
	if r.bytes > recentBytes {
		r.young, r.old, r.bytes = make(map[string]version), r.young, 0
	}
	r.young[place] = v
	r.bytes += int64(len(place)+len(v.value)) + placeOverhead
}
