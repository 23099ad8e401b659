package httpapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/store"
)

// handleKeys serves the key space. A fault in the parameters is answered
// whatever the method would do with them (contract §1.1, §1.4).
func (s *Server) handleKeys(w http.ResponseWriter, r *http.Request) {
	w.Header()[headerClusterID] = s.clusterID
	p, err := s.parseInTime(w, r)
	if err != nil {
		s.writeError(w, err)
		return
	}
	key := parseKey(r.URL.Path)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.write(w, r, key, &p)
	case p.wait && !p.quorum:
		s.watch(w, r, key, &p)
	default:
		s.read(w, r, key, &p)
	}
}

// parseInTime is parseParams for a client that may dawdle over its body. The
// limit is lifted when the body is all there: what net/http reads from then on
// is the silence of a client that waits for its answer. Otherwise it stays,
// because after the answer net/http reads what is left.
func (s *Server) parseInTime(w http.ResponseWriter, r *http.Request) (params, error) {
	if r.ContentLength == 0 {
		return s.parseParams(r)
	}
	client := http.NewResponseController(w)
	_ = client.SetReadDeadline(time.Now().Add(s.bodyTimeout)) // a writer without a connection has none
	p, err := s.parseParams(r)
	if _, end := r.Body.Read(nil); errors.Is(end, io.EOF) {
		_ = client.SetReadDeadline(time.Time{})
	}
	return p, err
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, key store.Key, p *params) {
	answer, err := s.backend.Get(r.Context(), cluster.Read{
		Key:       key,
		Recursive: p.recursive,
		Quorum:    p.quorum && r.Method != http.MethodHead, // contract §1.2
		Seen:      p.seen,
	})
	if err != nil {
		s.writeError(w, err)
		return
	}
	// A read's event is this answer's alone, so its bytes need not outlive it.
	buf := takeBuffer()
	defer buf.release()
	buf.b = slices.Grow(buf.b, sizeHint(answer.Event.Node)) // or a megabyte is copied over and over
	buf.b = appendEvent(buf.b, answer.Event)
	writeAnswer(w, http.StatusOK, answer, buf.b)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, key store.Key, p *params) {
	answer, err := s.backend.Do(r.Context(), p.command(r.Method, key, s.config.Now()), p.seen)
	if err != nil {
		s.writeError(w, err)
		return
	}
	event := answer.Event
	body := event.Encoded(encodeEvent)
	if p.noValueOnSuccess && !event.Action.Removes() {
		body = []byte(`{"action":"` + event.Action.String() + "\"}\n")
	}
	writeAnswer(w, successStatus(event), answer, body)
}

// successStatus returns 201 for what made a node where none was, else 200.
func successStatus(e *store.Event) int {
	if e.Action == store.ActionCreate || e.Action == store.ActionSet && e.Prev == nil {
		return http.StatusCreated
	}
	return http.StatusOK
}
