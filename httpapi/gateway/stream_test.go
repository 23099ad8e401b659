package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestWatch reads a watch through the gateway while its member sends.
func TestWatch(t *testing.T) {
	pieces := make(chan string)
	member := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Index", "5")
		client := http.NewResponseController(w)
		_ = client.Flush()
		for piece := range pieces {
			if piece == "die" {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, piece)
			_ = client.Flush()
		}
	})
	_, base := startGateway(t, Config{}, member.URL)
	for _, tc := range []struct {
		name, query string
		pieces      []string
		whole       bool
	}{
		{"nothing happens and the member goes", "?wait=true", nil, true},
		{"the member goes between events", "?wait=1&stream=true", []string{"{\"a\":1}\n", "{\"a\":2}\n"}, true},
		{"the member goes within an event", "?wait=true&stream=true", []string{"{\"a\":1}\n", "{\"a\""}, false},
		{"the member goes within a listing", "?recursive=true", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The head comes although nothing else does.
			resp, err := http.DefaultClient.Do(newRequest(t, "GET", base+"/v2/keys/a"+tc.query, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Etcd-Index") != "5" {
				t.Errorf("head: %v", resp)
			}
			r := bufio.NewReader(resp.Body)
			for _, piece := range tc.pieces {
				pieces <- piece
				got := make([]byte, len(piece))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != piece {
					t.Fatalf("got %q, %v, want %q", got, err, piece)
				}
			}
			pieces <- "die"
			rest, err := io.ReadAll(r)
			if len(rest) > 0 || tc.whole != (err == nil) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the end: %q, %v", rest, err)
			}
		})
	}
}

// TestClientGone cancels the request to the member.
func TestClientGone(t *testing.T) {
	for _, headFirst := range []bool{true, false} {
		ended := make(chan struct{})
		member := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
			if headFirst {
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			close(ended)
		})
		other := startBackend(t, answer)
		g, base := startGateway(t, Config{}, member.URL, other.URL)
		req, gone := endWith(t.Context(), newRequest(t, "GET", base+"/v2/keys/a?wait=true", ""))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}()
		eventually(t, "the watch arrives", func() bool { return member.asked.Load() > 0 })
		gone()
		<-done
		<-ended
		if u := g.line.candidates()[0].String(); u != member.URL || other.asked.Load() != 0 {
			t.Errorf("the member was blamed for a client that went")
		}
	}
}

func TestIsWatch(t *testing.T) {
	for target, want := range map[string]bool{
		"GET /v2/keys/a?wait=true":          true,
		"GET /v2/keys/a?wait=1&waitIndex=3": true,
		"GET /v2/keys/a?wait=false":         false,
		"GET /v2/keys/a?wait=x":             false,
		"GET /v2/keys/a":                    false,
		"GET /v2/keys/a?y=%zz&wait=true":    true,
		"PUT /v2/keys/a?wait=true":          false,
	} {
		if got := isWatch(newRequest(t, target[:3], "http://x"+target[4:], "")); got != want {
			t.Errorf("%s: %t", target, got)
		}
	}
}
