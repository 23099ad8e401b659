package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Member is a member as /members on the peer port shows it (contract §4.1).
type Member struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// Info is what the peer port tells anybody who asks.
type Info struct {
	Cluster string          // X-Etcd-Cluster-Id
	Members func() []Member // ascending by id
	Version func() any      // rendered as JSON
	// Join takes a process without data in as a member.
	Join func(context.Context, JoinRequest) (JoinAnswer, error)
	// Store writes the store of a group for a member that has lost its own.
	Store func(context.Context, StoreRequest, io.Writer) error
}

// Server serves the peer port: /members, /version, /join and /store beside raft.
type Server struct {
	srv *http.Server
	log zerolog.Logger
}

// NewServer returns a server for raft connections to t and questions about info.
func NewServer(t *Transport, info Info, log zerolog.Logger) *Server {
	mux := http.NewServeMux()
	mux.Handle(raftPath, t)
	mux.HandleFunc("GET /members", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", info.Cluster)
		writeJSON(w, info.Members())
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, info.Version())
	})
	mux.HandleFunc("POST /join", serveJoin(info.Join))
	mux.HandleFunc("POST /store", serveStore(info.Store))
	return &Server{log: log, srv: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}}
}

// Serve accepts connections until Close. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	if err := s.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes the listeners and the connections that are not raft's.
func (s *Server) Close(ctx context.Context) error { return s.srv.Shutdown(ctx) }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// An error here is the asker's connection; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
