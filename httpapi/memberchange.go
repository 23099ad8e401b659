package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/witan-kv/witan/cluster"
)

// addMember adds a member that has not started yet: POST /v2/members. The
// answer shows it as the list of members does from now on.
func (s *Server) addMember(w http.ResponseWriter, r *http.Request) {
	urls, ok := s.readPeerURLs(w, r)
	if !ok {
		return
	}
	m, err := s.backend.AddMember(r.Context(), urls)
	if err != nil {
		s.writeChangeError(w, r, m.ID, err)
		return
	}
	writeJSON(w, http.StatusCreated, newMember(m), "\n")
}

// updateMember changes where a member serves its peers: PUT /v2/members/ID.
func (s *Server) updateMember(w http.ResponseWriter, r *http.Request, rawID string) {
	id, ok := parseID(w, rawID)
	if !ok {
		return
	}
	urls, ok := s.readPeerURLs(w, r)
	if !ok {
		return
	}
	if err := s.backend.UpdateMember(r.Context(), id, urls); err != nil {
		s.writeChangeError(w, r, id, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// removeMember removes a member for good: DELETE /v2/members/ID.
func (s *Server) removeMember(w http.ResponseWriter, r *http.Request, rawID string) {
	id, ok := parseID(w, rawID)
	if !ok {
		return
	}
	if err := s.backend.RemoveMember(r.Context(), id); err != nil {
		s.writeChangeError(w, r, id, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// parseID reads a member's id from the path, and answers for itself if there
// is none: a change without an id is 405 but, unlike other 405s, does not say
// what is allowed (contract §4.1).
func parseID(w http.ResponseWriter, raw string) (id uint64, ok bool) {
	if raw == "" {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return 0, false
	}
	id, err := strconv.ParseUint(raw, 16, 64)
	if err != nil {
		writeMessage(w, http.StatusNotFound, "No such member: "+raw)
		return 0, false
	}
	return id, true
}

// writeChangeError answers a membership change that was refused or failed.
// Where etcd hides the reason behind "Internal Server Error", as it does for a
// change that would cost the quorum, the status is etcd's and the reason told.
func (s *Server) writeChangeError(w http.ResponseWriter, r *http.Request, id uint64, err error) {
	status, text := http.StatusInternalServerError, causeOf(err)
	var unsafe *cluster.UnsafeChangeError
	var unfinished *cluster.UnfinishedError
	switch {
	case errors.Is(err, cluster.ErrPeerURLExists):
		status, text = http.StatusConflict, cluster.ErrPeerURLExists.Error()
	case errors.Is(err, cluster.ErrIDExists):
		status, text = http.StatusConflict, cluster.ErrIDExists.Error()
	case errors.Is(err, cluster.ErrChangePending): // which one is told
		status = http.StatusConflict
	case errors.Is(err, cluster.ErrNoMember):
		status, text = http.StatusNotFound, "No such member: "+strconv.FormatUint(id, 16)
	case errors.Is(err, cluster.ErrMemberRemoved):
		text = "Member permanently removed: " + strconv.FormatUint(id, 16)
		if r.Method == http.MethodDelete {
			status = http.StatusGone // of an update etcd does not say it
		}
	case errors.As(err, &unsafe):
		text = unsafe.Error()
	case errors.As(err, &unfinished):
		text = unfinished.Error()
	case errors.Is(err, context.Canceled): // the client is gone
	default:
		s.log.Warn().Err(err).Str("method", r.Method).Msg("a membership change failed")
	}
	writeMessage(w, status, text)
}
