package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"
)

// routes returns the table of paths. A path that is not in it is answered with
// 404, OPTIONS with 200 on any path (contract §4.9).
func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(s.recoverPanic)
	if s.log.GetLevel() <= zerolog.DebugLevel {
		r.Use(s.logAccess)
	}
	r.Use(s.answerOptions, routeByPath)
	r.NotFound(http.NotFound)

	// The key space: /v2/keys and everything below, see routePath.
	r.With(allow("HEAD", "GET", "PUT", "POST", "DELETE")).HandleFunc(keysPrefix, s.handleKeys)

	members := r.With(allow("GET", "POST", "DELETE", "PUT"))
	members.HandleFunc(membersPrefix, s.handleMembers)
	members.HandleFunc(membersPrefix+"/*", s.handleMembers)
	r.With(allow("GET", "HEAD")).HandleFunc("/v2/machines", s.handleMachines)

	get := r.With(allow("GET"))
	get.HandleFunc("/v2/stats/store", s.handleStoreStats)
	get.HandleFunc("/v2/stats/self", s.handleSelfStats)
	get.HandleFunc("/v2/stats/leader", s.handleLeaderStats)
	get.HandleFunc("/v2/stats/groups", s.handleGroupStats) // ours

	get.HandleFunc("/v2/backup", s.handleBackup) // ours

	get.HandleFunc("/version", s.handleVersion)
	get.HandleFunc("/health", s.handleHealth)
	get.HandleFunc("/livez", s.handleLive)   // ours
	get.HandleFunc("/readyz", s.handleReady) // ours
	return r
}

// routeByPath makes chi look only at the decoded, cleaned path. Methods are
// allow's business: chi has no answer with an Allow header for a method it has
// never heard of.
func routeByPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := chi.RouteContext(r.Context())
		route.RoutePath = routePath(r.URL.Path)
		route.RouteMethod = http.MethodGet
		next.ServeHTTP(w, r)
	})
}

// allow lets requests with one of methods pass and answers others with 405,
// as text and with the methods in etcd's order and spelling (contract §1.1).
func allow(methods ...string) func(http.Handler) http.Handler {
	allowed := []string{strings.Join(methods, ",")}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !slices.Contains(methods, r.Method) {
				w.Header()["Allow"] = allowed
				http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
