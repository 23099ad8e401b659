package httpapi

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/witan-kv/witan/cluster"
)

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

// handleMembers lists the members: GET /v2/members.
func (s *Server) handleMembers(w http.ResponseWriter, _ *http.Request) {
	list := []member{}
	for _, m := range s.backend.Members() {
		list = append(list, newMember(m))
	}
	w.Header()[headerClusterID] = s.clusterID
	writeJSON(w, http.StatusOK, struct {
		Members []member `json:"members"`
	}{list}, "\n")
}

// handleLeader shows the member that leads: GET /v2/members/leader.
func (s *Server) handleLeader(w http.ResponseWriter, _ *http.Request) {
	w.Header()[headerClusterID] = s.clusterID
	leader, ok := s.backend.Leader()
	if !ok {
		writeMessage(w, http.StatusServiceUnavailable, "During election")
		return
	}
	writeJSON(w, http.StatusOK, newMember(leader), "\n")
}

// handleUnknownMember answers for everything else below /v2/members: single
// members cannot be read, not even by their id (contract §4.1).
func (s *Server) handleUnknownMember(w http.ResponseWriter, _ *http.Request) {
	w.Header()[headerClusterID] = s.clusterID
	writeMessage(w, http.StatusNotFound, "Not found")
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
