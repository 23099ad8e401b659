package main

import (
	"math/bits"
	"time"
)

// A histogram's buckets are as wide as 1/128 of the values in them, which is
// finer than the noise of any clock, and cost no memory per value.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	longest    = 1<<40 - 1 // ns, 18 minutes
	bucketN    = (40 - subBits + 1) * subBuckets
)

// histogram counts durations. The zero histogram is empty. It is not safe for
// concurrent use: each connection has its own, merged in the end.
type histogram struct {
	counts [bucketN]uint32
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns the duration that the share q of all durations do not
// exceed, 0 if there are none. It is off by half a bucket at most.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		seen += uint64(n)
		if seen > rank || n > 0 && seen == h.total {
			return middleOf(i)
		}
	}
	return 0
}

// bucketOf returns the bucket of d: itself below subBuckets, then subBuckets
// buckets for every doubling.
func bucketOf(d time.Duration) int {
	v := uint64(min(max(d, 0), longest))
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// middleOf returns the duration in the middle of a bucket.
func middleOf(bucket int) time.Duration {
	if bucket < 2*subBuckets {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	low := (bucket - shift<<subBits) << shift
	return time.Duration(low + 1<<shift/2)
}
