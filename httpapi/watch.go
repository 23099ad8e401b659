package httpapi

import (
	"net/http"

	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// watch serves a long poll or, with stream=true, a stream of events. The
// answer's head is sent at once; the events follow when they happen, for as
// long as the client stays (contract §2.1). A watch that ends without an event
// leaves an empty body, which clients take as a reason to ask again.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, key store.Key, p *params) {
	watcher, answer, err := s.backend.Watch(r.Context(), watch.Request{
		Key: key, Recursive: p.recursive, Stream: p.stream, From: p.waitIndex,
	})
	if err != nil {
		s.writeError(w, err)
		return
	}
	startAnswer(w.Header(), answer, -1)
	s.parked.Park(w, r, watcher, p.stream)
}
