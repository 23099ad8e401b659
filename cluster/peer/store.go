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
)

// StoreRequest is sent by a member that has lost the store of a group, to one
// that has it. Who asks is checked as for a raft connection.
type StoreRequest struct {
	Cluster uint64 `json:"cluster,string"`
	Member  uint64 `json:"member,string"`
	Origin  Origin `json:"origin"`
	Group   int    `json:"group"`
}

// FetchStore asks the member at a URL for a snapshot of a group's store. The
// reader, which tells an end from an interruption by what it reads, is to be
// closed. The error is a *RefusedError when asking again would not help.
func FetchStore(ctx context.Context, peerURL string, q StoreRequest) (io.ReadCloser, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, peerURL+"/store", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxAnswer)) // a reason for people
	reason := strings.TrimSpace(string(text))
	if resp.StatusCode == http.StatusConflict {
		return nil, &RefusedError{reason}
	}
	return nil, fmt.Errorf("peer: store of group %d at %s: %s: %s", q.Group, peerURL, resp.Status, reason)
}

// serveStore answers POST /store. What fails after the beginning breaks the connection off.
func serveStore(send func(context.Context, StoreRequest, io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		var q StoreRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out := &started{ResponseWriter: w}
		err := send(r.Context(), q, out)
		switch {
		case err == nil:
		case out.yes:
			panic(http.ErrAbortHandler)
		case errors.As(err, new(*RefusedError)):
			http.Error(w, err.Error(), http.StatusConflict)
		default:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
}

// started knows whether anything of an answer was written.
type started struct {
	http.ResponseWriter
	yes bool
}

func (s *started) Write(b []byte) (int, error) {
	s.yes = true
	return s.ResponseWriter.Write(b)
}
