package main

import (
	"math"
	"slices"
)

// spread is what several rounds of one measurement said.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of values; of none, all three are NaN.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// ratioOf returns how a compares to b: the ratio of the medians, with the
// lowest and highest ratio of a round. Values of one round stand at the same
// place in a and b, which are equally long.
func ratioOf(a, b []float64) spread {
	rounds := make([]float64, min(len(a), len(b)))
	for i := range rounds {
		rounds[i] = a[i] / b[i]
	}
	r := spreadOf(rounds)
	r.Median = spreadOf(a).Median / spreadOf(b).Median
	return r
}
