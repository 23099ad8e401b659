package httpapi

import "net/http"

// Handler is what the server's connections call, for tests without one.
func (s *Server) Handler() http.Handler { return s.http.Handler }
