package httpapi

import (
	"net/http"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/store"
)

// handleKeys serves the key space. A fault in the parameters is answered
// whatever the method would do with them (contract §1.1, §1.4).
func (s *Server) handleKeys(w http.ResponseWriter, r *http.Request) {
	w.Header()[headerClusterID] = s.clusterID
	p, err := s.parseParams(r)
	if err != nil {
		s.writeError(w, err)
		return
	}
	key := parseKey(r.URL.Path)
	switch r.Method {
	case http.MethodGet:
		if p.wait && !p.quorum {
			s.watch(w, r, key, &p)
			return
		}
		s.read(w, r, cluster.Read{Key: key, Recursive: p.recursive, Quorum: p.quorum, Seen: p.seen})
	case http.MethodHead: // never a quorum read (contract §1.2)
		s.read(w, r, cluster.Read{Key: key, Recursive: p.recursive, Seen: p.seen})
	default:
		s.write(w, r, p.command(r.Method, key, s.config.Now()), &p)
	}
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, read cluster.Read) {
	answer, err := s.backend.Get(r.Context(), read)
	if err != nil {
		s.writeError(w, err)
		return
	}
	// A read's event is this answer's alone, so its bytes need not outlive it.
	buf := takeBuffer()
	defer buf.release()
	buf.b = appendEvent(buf.b, answer.Event)
	writeAnswer(w, http.StatusOK, answer, buf.b)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, c store.Command, p *params) {
	answer, err := s.backend.Do(r.Context(), c, p.seen)
	if err != nil {
		s.writeError(w, err)
		return
	}
	event := answer.Event
	if p.noValueOnSuccess && !event.Action.Removes() {
		writeAnswer(w, successStatus(event), answer, []byte(`{"action":"`+event.Action.String()+"\"}\n"))
		return
	}
	writeAnswer(w, successStatus(event), answer, event.Encoded(encodeEvent))
}

// successStatus returns 201 for what made a node where none was, else 200.
func successStatus(e *store.Event) int {
	if e.Action == store.ActionCreate || e.Action == store.ActionSet && e.Prev == nil {
		return http.StatusCreated
	}
	return http.StatusOK
}
