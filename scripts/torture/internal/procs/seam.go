package procs

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// seamVariable tells a member that was built for this suite where to listen for it.
const seamVariable = "TORTURE_LISTEN"

// HasSeam says whether a server was built with -tags torture.
func HasSeam(binary string) bool {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			for tag := range strings.SplitSeq(s.Value, ",") {
				if tag == "torture" {
					return true
				}
			}
		}
	}
	return false
}

// Seam is the URL of what a member can be asked to do to itself, "" for a release. It is safe for concurrent use.
type Seam string

// Clock is how wrong one of a member's clocks is. The zero Clock is right.
type Clock struct {
	Offset time.Duration
	Drift  float64       // 0.05 is 5 % fast
	Strobe time.Duration // the offset is taken off and put on in turns of that length, when not 0
}

// SetClock makes the wall clock or the stopwatch of a member wrong, or right again.
// It returns how far the two are off right after, in seconds.
func (s Seam) SetClock(ctx context.Context, which string, c Clock) (wall, stopwatch float64, err error) {
	var off struct{ Wall, Stopwatch float64 }
	err = s.call(ctx, http.MethodPost, "/clock", url.Values{
		"which": {which}, "offset": {c.Offset.String()}, "rate": {fmt.Sprint(1 + c.Drift)}, "strobe": {c.Strobe.String()},
	}, &off)
	return off.Wall, off.Stopwatch, err
}

// Off is how far the wall clock and the stopwatch are off, in seconds.
func (s Seam) Off(ctx context.Context) (wall, stopwatch float64, err error) {
	var off struct{ Wall, Stopwatch float64 }
	err = s.call(ctx, http.MethodGet, "/clock", nil, &off)
	return off.Wall, off.Stopwatch, err
}

// Lead makes the member the leader of a group. It returns when it is.
func (s Seam) Lead(ctx context.Context, group int) error {
	return s.call(ctx, http.MethodPost, "/lead", url.Values{"group": {fmt.Sprint(group)}}, nil)
}

// Snapshot takes a snapshot of a group without the log before it, and returns its raft index, 0 if nothing had changed.
func (s Seam) Snapshot(ctx context.Context, group int) (uint64, error) {
	var taken struct{ Index uint64 }
	err := s.call(ctx, http.MethodPost, "/snapshot", url.Values{"group": {fmt.Sprint(group)}}, &taken)
	return taken.Index, err
}

// Runtime tells how many goroutines there are, and the bytes of the heap after a collection.
func (s Seam) Runtime(ctx context.Context) (goroutines, heap int, err error) {
	var r struct{ Goroutines, Heap int }
	err = s.call(ctx, http.MethodGet, "/runtime", nil, &r)
	return r.Goroutines, r.Heap, err
}

// seamPatience bounds a call: strikes must return soon.
const seamPatience = time.Second

func (s Seam) call(ctx context.Context, method, path string, query url.Values, into any) error {
	if s == "" {
		return errNoSeam
	}
	ctx, cancel := context.WithTimeout(ctx, seamPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, string(s)+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("procs: %w", err)
	}
	resp, err := strangers().Do(req)
	if err != nil {
		return fmt.Errorf("procs: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("procs: %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("procs: %s: %s", path, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("procs: %s: %w", path, err)
	}
	return nil
}

// strangers makes a connection for each request and keeps none: members' descriptors are counted.
func strangers() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

var errNoSeam = errors.New("procs: the server was not built with -tags torture")
