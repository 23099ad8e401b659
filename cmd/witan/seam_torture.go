//go:build torture

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
)

// seamVariable names the loopback address the seam listens on.
const seamVariable = "TORTURE_LISTEN"

// seamPatience bounds what the seam asks of the member.
const seamPatience = 2 * time.Second

// seam is where the torture suite takes hold of a member: its clocks, its
// leaderships, its snapshots, and figures of the runtime. It listens from
// before the member joins, so that clocks can be wrong from the start.
//
//	POST /clock?which=wall|stopwatch&offset=1h&rate=1.05&strobe=100ms   sets a clock; what is left out is as in a clock that is right
//	GET  /clock                   what both show, and what time it is
//	POST /lead?group=0            the member takes the lead of a group
//	POST /snapshot?group=0        a snapshot, without the log before it
//	GET  /runtime                 goroutines, and the heap after a collection
//	GET  /profile?seconds=8       where the processor's time goes, for scripts/profile.sh
type seam struct {
	wall, stopwatch *fakeClock // of expirations shown, and of group clocks

	http *http.Server
	mux  *http.ServeMux
	done chan struct{} // closed when nothing is served any more
}

func openSeam() (*seam, error) {
	s := &seam{wall: newFakeClock(), stopwatch: newFakeClock(), mux: http.NewServeMux(), done: make(chan struct{})}
	address := os.Getenv(seamVariable)
	if address == "" {
		close(s.done)
		return s, nil
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s: %q is no loopback address with a port", seamVariable, address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", seamVariable, err)
	}
	s.mux.HandleFunc("POST /clock", s.setClock)
	s.mux.HandleFunc("GET /clock", s.showClock)
	s.mux.HandleFunc("GET /runtime", showRuntime)
	s.mux.HandleFunc("GET /profile", pprof.Profile)
	s.http = &http.Server{Handler: s.mux, ReadHeaderTimeout: seamPatience}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l)
	}()
	return s, nil
}

func (s *seam) cluster(c cluster.Config) cluster.Config {
	c.Now = s.stopwatch.now
	return c
}

func (s *seam) api(c httpapi.Config) httpapi.Config {
	c.Now = s.wall.now
	return c
}

// serve adds what needs a member that runs.
func (s *seam) serve(n *cluster.Node) {
	s.mux.HandleFunc("POST /lead", onGroup(n, func(ctx context.Context, group int) (any, error) {
		return struct{}{}, n.Lead(ctx, group)
	}))
	s.mux.HandleFunc("POST /snapshot", onGroup(n, func(ctx context.Context, group int) (any, error) {
		index, err := n.Snapshot(ctx, group)
		return map[string]uint64{"index": index}, err
	}))
}

// close lets what was asked for end first: it uses the member.
func (s *seam) close() {
	if s == nil || s.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*seamPatience)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// onGroup serves what is done to one group.
func onGroup(n *cluster.Node, do func(context.Context, int) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		group, err := strconv.Atoi(r.FormValue("group"))
		if err != nil || group < 0 || group >= n.Groups() {
			http.Error(w, "group: not one of the key groups", http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), seamPatience)
		defer cancel()
		answer, err := do(ctx, group)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		reply(w, answer)
	}
}

func (s *seam) setClock(w http.ResponseWriter, r *http.Request) {
	which := map[string]*fakeClock{"wall": s.wall, "stopwatch": s.stopwatch}[r.FormValue("which")]
	if which == nil {
		http.Error(w, "which: wall or stopwatch", http.StatusBadRequest)
		return
	}
	offset, err1 := optional(r.FormValue("offset"), 0, time.ParseDuration)
	strobe, err2 := optional(r.FormValue("strobe"), 0, time.ParseDuration)
	rate, err3 := optional(r.FormValue("rate"), 1, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	if err := errors.Join(err1, err2, err3); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	which.set(offset, rate, strobe)
	s.showClock(w, r)
}

func optional[T any](text string, without T, parse func(string) (T, error)) (T, error) {
	if text == "" {
		return without, nil
	}
	return parse(text)
}

// showClock answers with how far each clock is from what is right.
func (s *seam) showClock(w http.ResponseWriter, _ *http.Request) {
	reply(w, map[string]float64{"wall": s.wall.off().Seconds(), "stopwatch": s.stopwatch.off().Seconds()})
}

func showRuntime(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	reply(w, map[string]uint64{"goroutines": uint64(runtime.NumGoroutine()), "heap": m.HeapInuse})
}

func reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the suite misses an answer that broke off
}
