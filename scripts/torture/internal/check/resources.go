package check

// Usage is what a member takes of its machine at one time. What cannot be told is 0.
type Usage struct {
	Member      string
	Goroutines  int
	Heap        int // bytes, after a collection
	Descriptors int
	Threads     int
	RSS         int // bytes
}

// MoreThan is the greater of two usages in each part.
func (u Usage) MoreThan(o Usage) Usage {
	return Usage{
		u.Member, max(u.Goroutines, o.Goroutines), max(u.Heap, o.Heap), max(u.Descriptors, o.Descriptors),
		max(u.Threads, o.Threads), max(u.RSS, o.RSS),
	}
}

// Resources says that each member takes hardly more than the one that took most of a part at the start: a fifth, and a constant besides. The
// constants are for clients that have come together at one member (descriptors, goroutines); for threads, which Go starts when disks are
// slow and never ends; for tables in memory that are being filled (heap); and for pages of what was free again, which Go gives back over minutes (RSS).
func Resources(start, end []Usage) []Violation {
	var base Usage
	for _, u := range start {
		base = base.MoreThan(u)
	}
	const mib = 1 << 20
	var out []Violation
	for _, u := range end {
		for _, part := range []struct {
			name               string
			before, now, spare int
		}{
			{"goroutines", base.Goroutines, u.Goroutines, 60},
			{"bytes of heap", base.Heap, u.Heap, 32 * mib},
			{"descriptors", base.Descriptors, u.Descriptors, 60},
			{"threads", base.Threads, u.Threads, 24},
			{"bytes resident", base.RSS, u.RSS, 96 * mib},
		} {
			if part.before > 0 && part.now > part.before+part.before/5+part.spare {
				out = append(out, violation("resources", nil, "%s has %d %s at the end; the most at the start was %d", u.Member, part.now, part.name, part.before))
			}
		}
	}
	return out
}
