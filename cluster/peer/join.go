package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Cluster is what a member has to know of a cluster to take part in it.
type Cluster struct {
	ID         uint64    `json:"id,string"`
	Groups     int       `json:"groups"`
	FirstIndex uint64    `json:"firstIndex"`
	Founders   []Founder `json:"founders"` // the initial members
	Removed    []uint64  `json:"removed,omitempty"`
	Seed       string    `json:"seed,omitempty"`
}

// Founder is one of the members a cluster began with.
type Founder struct {
	ID       uint64   `json:"id,string"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
}

// JoinRequest is sent by a process without data that wants to be the member
// with the given peer URLs.
type JoinRequest struct {
	PeerURLs []string `json:"peerURLs"`
	Instance uint64   `json:"instance,string"` // of its data directory
	Add      bool     `json:"add,omitempty"`   // add the member if there is none
	Replace  bool     `json:"replace,omitempty"`
}

// JoinAnswer says which member the process is now.
type JoinAnswer struct {
	Member  uint64   `json:"member,string"`
	Cluster Cluster  `json:"cluster"`
	Members []Member `json:"members"`
}

// RefusedError says that a cluster does not take a process in, and why.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// joinTimeout is how long a request to join may take: a removal and an
// addition in all groups, each within its own time.
const joinTimeout = 30 * time.Second

// Join asks the member at a URL to take this process in. The error is a
// *RefusedError when asking again would not help.
func Join(ctx context.Context, peerURL string, j JoinRequest) (JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	body, err := json.Marshal(j)
	if err != nil {
		return JoinAnswer{}, fmt.Errorf("peer: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, peerURL+"/join", bytes.NewReader(body))
	if err != nil {
		return JoinAnswer{}, fmt.Errorf("peer: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return JoinAnswer{}, fmt.Errorf("peer: %w", err)
	}
	defer resp.Body.Close()
	answer := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer) // a reason for people
		reason := strings.TrimSpace(string(text))
		if resp.StatusCode == http.StatusConflict {
			return JoinAnswer{}, &RefusedError{reason}
		}
		return JoinAnswer{}, fmt.Errorf("peer: join at %s: %s: %s", peerURL, resp.Status, reason)
	}
	var a JoinAnswer
	if err := json.NewDecoder(answer).Decode(&a); err != nil {
		return JoinAnswer{}, fmt.Errorf("peer: join at %s: %w", peerURL, err)
	}
	return a, nil
}

// serveJoin answers POST /join: 409 when asking again would not help, 503 when it may.
func serveJoin(join func(context.Context, JoinRequest) (JoinAnswer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Browsers ask before they send this type elsewhere, and nobody says yes.
		if r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		var j JoinRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&j); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, err := join(r.Context(), j)
		if refused := new(RefusedError); errors.As(err, &refused) {
			http.Error(w, refused.Reason, http.StatusConflict)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, a)
	}
}
