package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/witan-kv/witan/cluster"
)

// healthTimeout is how long a quorum may take to answer (contract §4.5).
const healthTimeout = time.Second

func (s *Server) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return s.backend.Healthy(ctx)
}

// handleHealth says whether a quorum answers, in the form of etcd 3.4.
func (s *Server) handleHealth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerContentType, "text/plain; charset=utf-8")
	if s.healthy(r.Context()) != nil {
		http.Error(w, `{"health":"false"}`, http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, `{"health":"true"}`)
}

// handleLive says that the process serves requests; whoever gets no answer may
// restart it.
func (s *Server) handleLive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(headerContentType, "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// handleReady says whether clients should be sent here, and if not, why.
func (s *Server) handleReady(w http.ResponseWriter, r *http.Request) {
	reasons := s.unreadiness(r.Context())
	if len(reasons) > 0 {
		http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
		return
	}
	s.handleLive(w, r)
}

// unreadiness lists what keeps this member from serving as it should.
func (s *Server) unreadiness(ctx context.Context) []string {
	var reasons []string
	if s.closing.Err() != nil {
		reasons = append(reasons, "the server is shutting down")
	}
	if !s.backend.Caught() {
		reasons = append(reasons, "the member has not caught up with its cluster since it started")
	}
	if _, ok := s.backend.Leader(); !ok {
		reasons = append(reasons, "the cluster has no leader")
	}
	if err := s.healthy(ctx); err != nil {
		reasons = append(reasons, "no quorum: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return reasons
}

// encodeVersions returns the answer to /version.
func encodeVersions(server string) []byte {
	b, err := json.Marshal(cluster.VersionsOf(server))
	if err != nil {
		panic(err)
	}
	return b
}

// handleVersion tells the etcd version whose API is served (contract §4.4).
func (s *Server) handleVersion(w http.ResponseWriter, _ *http.Request) {
	w.Header()[headerContentType] = jsonType
	_, _ = w.Write(s.versions)
}
