package main

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   spread
	}{
		{"one", []float64{7}, spread{7, 7, 7}},
		{"odd", []float64{9, 1, 5}, spread{5, 1, 9}},
		{"even", []float64{4, 1, 3, 100}, spread{3.5, 1, 100}},
		{"alike", []float64{2, 2, 2, 2}, spread{2, 2, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := spreadOf(tt.values); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if !slices.Equal(tt.values, before) {
				t.Errorf("values were changed to %v", tt.values)
			}
		})
	}
	if got := spreadOf(nil); !math.IsNaN(got.Median) {
		t.Errorf("of nothing: got %v, want NaN", got)
	}
}

func TestRatioComparesRounds(t *testing.T) {
	// The medians are 20 and 10; within the rounds it was 1, 10 and 0.5.
	got := ratioOf([]float64{10, 100, 20}, []float64{10, 10, 40})
	if want := (spread{2, 0.5, 10}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var exact []time.Duration
	for range 50_000 {
		d := time.Duration(math.Exp(random.Float64() * 20)) // 1 ns to 0.5 s, all scales alike
		exact = append(exact, d)
		h.add(d)
	}
	slices.Sort(exact)
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := exact[min(int(q*float64(len(exact))), len(exact)-1)]
		got := h.quantile(q)
		if off := math.Abs(float64(got-want)) / float64(want); off > 1.0/subBuckets {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	tests := []struct {
		name   string
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{"nothing", nil, 0.5, 0},
		{"a clock that went back", []time.Duration{-5}, 0.5, 0},
		{"one value", []time.Duration{100}, 0.999, 100},
		{"lower half", []time.Duration{10, 20, 30, 40}, 0.49, 20},
		{"upper half", []time.Duration{10, 20, 30, 40}, 0.5, 30},
		{"the last of all", []time.Duration{10, 20}, 1, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h histogram
			for _, v := range tt.values {
				h.add(v)
			}
			if got := h.quantile(tt.q); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	var h histogram
	h.add(time.Hour)
	if got := h.quantile(0.5); got < 18*time.Minute || got > 19*time.Minute {
		t.Errorf("too long a value: got %v, want the longest that is counted", got)
	}
}

func TestHistogramBucketsFollowEachOther(t *testing.T) {
	last := -1
	for v := time.Duration(0); v < 1<<16; v++ {
		b := bucketOf(v)
		if b != last && b != last+1 {
			t.Fatalf("%v is in bucket %d, the value before it in %d", v, b, last)
		}
		last = b
	}
}

func TestHistogramMerge(t *testing.T) {
	var a, b, both histogram
	for i := range 1000 {
		d := time.Duration(i) * time.Microsecond
		both.add(d)
		if i%3 == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	if a != both {
		t.Error("two merged histograms differ from one that saw everything")
	}
}

func TestNewLoadSample(t *testing.T) {
	o := outcome{elapsed: 2 * time.Second, refused: 3}
	for range 1000 {
		o.latency.add(100 * time.Microsecond)
	}
	used := meter{servers: 50 * time.Millisecond, client: 10 * time.Millisecond, machine: machineTimes{busy: 80 * time.Millisecond, stolen: 40 * time.Millisecond}}
	s := newLoadSample(o, used)
	if s.Rate != 500 || s.CPU != 50 || s.ClientCPU != 10 || s.Requests != 1000 || s.Refused != 3 {
		t.Errorf("got %+v", s)
	}
	all := float64(runtime.NumCPU()) * 2
	if math.Abs(s.Others-0.02/all) > 1e-9 || math.Abs(s.Stolen-0.04/all) > 1e-9 {
		t.Errorf("others %v, stolen %v, want %v and %v", s.Others, s.Stolen, 0.02/all, 0.04/all)
	}
	if s.P50 < 99 || s.P50 > 101 || s.P999 != s.P50 {
		t.Errorf("latencies %v and %v, want about 100 for both", s.P50, s.P999)
	}
}
