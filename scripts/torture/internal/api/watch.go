package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// ErrCleared says the history a watch asked for is gone (error 401).
var ErrCleared = errors.New("api: the requested history has been cleared")

// Watch asks for changes of a key.
type Watch struct {
	Key       string
	From      uint64 // waitIndex, 0 is from now on
	Recursive bool
	Stream    bool
}

// Watch calls on for every event until the member ends the watch or ctx ends; a long poll ends after its first event, a stream also when on returns false.
// accepted, if not nil, is called with X-Etcd-Index when the headers have come. The end of the watch is no error.
func (c *Client) Watch(ctx context.Context, w Watch, accepted func(index uint64), on func(history.Event) bool) error {
	form := url.Values{"wait": {"true"}}
	if w.From > 0 {
		form.Set("waitIndex", strconv.FormatUint(w.From, 10))
	}
	if w.Recursive {
		form.Set("recursive", "true")
	}
	if w.Stream {
		form.Set("stream", "true")
	}
	ctx, cancel := context.WithCancel(ctx) // ends the connection when on has had enough
	defer cancel()
	resp, err := c.send(ctx, Request{Method: http.MethodGet, Key: w.Key, Form: form})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if accepted != nil && resp.StatusCode == http.StatusOK {
		accepted(index(resp))
	}
	if c.Lie != "" {
		truth, l := on, c.liars()
		on = func(e history.Event) bool {
			more := true
			for _, told := range l.events(e) {
				more = truth(told) && more
			}
			return more
		}
	}
	decoder := json.NewDecoder(resp.Body)
	for {
		var a Answer
		err := decoder.Decode(&a)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("api: watch: %w", err)
		case a.Code == 401:
			return fmt.Errorf("%w: %s", ErrCleared, a.Cause)
		case a.Code != 0 || a.Node == nil:
			return fmt.Errorf("api: watch: status %d, error %d %s (%s)", resp.StatusCode, a.Code, a.Message, a.Cause)
		}
		if !on(a.event()) && w.Stream {
			return nil // a long poll is read to its end, which keeps the connection
		}
	}
}

func (a *Answer) event() history.Event {
	e := history.Event{Action: a.Action, Key: a.Node.Key, Value: a.Node.Value, Index: a.Node.ModifiedIndex}
	if a.PrevNode != nil {
		e.PrevIndex, e.PrevValue = a.PrevNode.ModifiedIndex, a.PrevNode.Value
	}
	return e
}
