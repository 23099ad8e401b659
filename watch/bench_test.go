package watch

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/witan-kv/witan/store"
)

// publish measures Publish of one event a time on a key two levels deep, with
// the watchers that before set up. every is called after each 100 events,
// outside the time measured.
func publish(b *testing.B, before func(h *Hub), every func(h *Hub)) {
	h := NewHub(&history{}, 0, 16<<20)
	before(h)
	node := &store.Node{Key: store.ParseKey("/bench/key"), Value: "value"}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		h.Publish(uint64(i)+1, &store.Event{Action: store.ActionSet, Node: node, Index: uint64(i) + 1})
		if i%100 == 99 {
			b.StopTimer()
			every(h)
			b.StartTimer()
		}
	}
}

func watchOrFail(b *testing.B, h *Hub, req Request) *Watcher {
	w, err := h.Watch(req)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// BenchmarkPublish shows that only those who watch the key cost anything.
func BenchmarkPublish(b *testing.B) {
	nothing := func(*Hub) {}
	b.Run("nobody", func(b *testing.B) { publish(b, nothing, nothing) })
	b.Run("10000 on other keys", func(b *testing.B) {
		publish(b, func(h *Hub) {
			for i := range 10_000 {
				watchOrFail(b, h, Request{Key: store.ParseKey(fmt.Sprintf("/bench/other%d", i)), Recursive: true})
			}
		}, nothing)
	})
	for _, kind := range []struct {
		name string
		req  Request
	}{
		{"2000 on the key", Request{Key: store.ParseKey("/bench/key"), Stream: true}},
		{"2000 recursive above", Request{Key: store.ParseKey("/bench"), Stream: true, Recursive: true}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var ws []*Watcher
			publish(b, func(h *Hub) {
				for range 2000 {
					ws = append(ws, watchOrFail(b, h, kind.req))
				}
			}, func(h *Hub) {
				for _, w := range ws {
					if got, _ := drain(b, w); len(got) != 100 {
						b.Fatalf("got %d events", len(got))
					}
				}
			})
		})
	}
}

// BenchmarkDelivery is the fan-out with the readers at work, waited for after
// each 100 events: the time is until 100 readers have read one event.
func BenchmarkDelivery(b *testing.B) {
	const readers, burst = 100, 100
	h := NewHub(&history{}, 0, 16<<20)
	read := make(chan struct{})
	for range readers {
		w := watchOrFail(b, h, Request{Stream: true, Recursive: true})
		go func() {
			for n := 1; ; n++ {
				if _, err := w.Next(b.Context()); err != nil {
					return
				}
				if n%burst == 0 {
					read <- struct{}{}
				}
			}
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range uint64(b.N) {
		h.Publish(i+1, change(i+1, "/bench/key"))
		if (i+1)%burst == 0 {
			for range readers {
				<-read
			}
		}
	}
}

// BenchmarkRemovalOfADirectory is Publish of a removal that none of 10,000
// watchers beside the directory wants.
func BenchmarkRemovalOfADirectory(b *testing.B) {
	h := NewHub(&history{}, 0, 16<<20)
	for i := range 10_000 {
		watchOrFail(b, h, Request{Key: store.ParseKey(fmt.Sprintf("/bench/other%d", i))})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		h.Publish(uint64(i)+1, removal(uint64(i)+1, "/bench/dir", "/bench/dir/a"))
	}
}

// BenchmarkLongPoll is one round of a client: watch, be told, close.
func BenchmarkLongPoll(b *testing.B) {
	h := NewHub(&history{}, 0, 16<<20)
	ctx := b.Context()
	b.ReportAllocs()
	for i := range b.N {
		w := watchOrFail(b, h, Request{Key: store.ParseKey("/bench/key")})
		h.Publish(uint64(i)+1, change(uint64(i)+1, "/bench/key"))
		if _, err := w.Next(ctx); err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
}

// BenchmarkMergePublish has nobody watch; the groups take turns.
func BenchmarkMergePublish(b *testing.B) {
	for _, groups := range []int{1, 4} {
		b.Run(fmt.Sprint(groups, " groups"), func(b *testing.B) {
			h := NewHub(&history{}, 0, 16<<20)
			m := NewMerge(h, make([]uint64, groups))
			node := &store.Node{Key: store.ParseKey("/bench/key"), Value: "value"}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				index := uint64(i) + 1
				m.Publish(i%groups, index, &store.Event{Action: store.ActionSet, Node: node, Index: index})
			}
		})
	}
}

// BenchmarkIdleWatchers measures the memory of a long poll that waits, without
// the goroutine of its reader.
func BenchmarkIdleWatchers(b *testing.B) {
	for _, kind := range []string{"on one key", "each on its own key"} {
		b.Run(kind, func(b *testing.B) {
			h := NewHub(&history{}, 0, 16<<20)
			before := heap()
			ws := make([]*Watcher, 0, b.N)
			for i := range b.N {
				key := "/bench/key"
				if kind != "on one key" {
					key = fmt.Sprintf("/bench/key%d", i)
				}
				w := watchOrFail(b, h, Request{Key: store.ParseKey(key)})
				if _, err := w.Next(atOnce{b.Context()}); err != nil {
					b.Fatal(err)
				}
				ws = append(ws, w)
			}
			b.ReportMetric(float64(heap()-before)/float64(b.N), "B/watcher")
			runtime.KeepAlive(ws)
			runtime.KeepAlive(h)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
