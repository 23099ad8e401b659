package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/store"
)

// BenchmarkPut sets 64-byte values of 1,000 keys. cpu-ns/op is what the whole
// process used, background work included: on a busy machine it means more than the time.
func BenchmarkPut(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			n := clustertest.Start(b, clustertest.Options{}).Nodes[0]
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			putAll(b, n, workers)
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

func putAll(b *testing.B, n *cluster.Node, workers int) {
	value := strings.Repeat("x", 64)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < b.N; i += workers {
				key := store.ParseKey(fmt.Sprintf("/bench/k%d", i%1000))
				if _, err := n.Do(b.Context(), store.Command{Op: store.OpSet, Key: key, Value: value}, 0); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// cpuTime returns how long this process has kept processors busy.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
