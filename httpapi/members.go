package httpapi

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/witan-kv/witan/cluster"
)

const membersPrefix = "/v2/members"

// member is one member as clients see it; all fields are always there
// (contract §4.1).
type member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func newMember(m cluster.Member) member {
	return member{
		ID:         formatID(m.ID),
		Name:       m.Name,
		PeerURLs:   append([]string{}, m.PeerURLs...),
		ClientURLs: append([]string{}, m.ClientURLs...),
	}
}

// handleMembers serves /v2/members and all below it: what stands behind is the
// id of a member, or "leader". A POST does not look at it.
func (s *Server) handleMembers(w http.ResponseWriter, r *http.Request) {
	w.Header()[headerClusterID] = s.clusterID
	rest := strings.TrimPrefix(strings.TrimPrefix(routePath(r.URL.Path), membersPrefix), "/")
	switch r.Method {
	case http.MethodGet:
		s.readMembers(w, rest)
	case http.MethodPost:
		s.addMember(w, r)
	case http.MethodPut:
		s.updateMember(w, r, rest)
	case http.MethodDelete:
		s.removeMember(w, r, rest)
	}
}

// readMembers lists the members or shows the leader. Single members cannot be
// read, not even by their id (contract §4.1).
func (s *Server) readMembers(w http.ResponseWriter, what string) {
	switch what {
	case "":
		s.listMembers(w)
	case "leader":
		s.showLeader(w)
	default:
		writeMessage(w, http.StatusNotFound, "Not found")
	}
}

func (s *Server) listMembers(w http.ResponseWriter) {
	list := []member{}
	for _, m := range s.backend.Members() {
		list = append(list, newMember(m))
	}
	writeJSON(w, http.StatusOK, struct {
		Members []member `json:"members"`
	}{list}, "\n")
}

func (s *Server) showLeader(w http.ResponseWriter) {
	leader, ok := s.backend.Leader()
	if !ok {
		writeMessage(w, http.StatusServiceUnavailable, "During election")
		return
	}
	writeJSON(w, http.StatusOK, newMember(leader), "\n")
}

// handleMachines lists the client URLs of all members: GET /v2/machines.
func (s *Server) handleMachines(w http.ResponseWriter, _ *http.Request) {
	var urls []string
	for _, m := range s.backend.Members() {
		urls = append(urls, m.ClientURLs...)
	}
	slices.Sort(urls)
	w.Header().Set(headerContentType, "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, strings.Join(urls, ", "))
}
