package httpapi

import (
	"net/http"
	"time"
)

// Handler is what the server's connections call, for tests without one.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// SetBodyTimeout shortens a minute. It is called before Serve.
func (s *Server) SetBodyTimeout(d time.Duration) { s.bodyTimeout = d }
