package httpapi

import (
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// recoverPanic answers a request whose handler panicked with 500, or breaks
// its connection if the answer had begun. The other requests go on.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			s.log.Error().Interface("panic", cause).Str("method", r.Method).Str("path", r.URL.Path).
				Bytes("stack", debug.Stack()).Msg("a request's handler panicked")
			if w.Header()["Content-Type"] != nil { // every answer sets it last of all
				panic(http.ErrAbortHandler)
			}
			writeMessage(w, http.StatusInternalServerError, "Internal Server Error")
		}()
		next.ServeHTTP(w, r)
	})
}

// answerOptions answers OPTIONS and puts the CORS headers on every answer to
// an origin that is allowed to read it (contract §4.9).
func (s *Server) answerOptions(next http.Handler) http.Handler {
	origins := s.config.CORS
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(origins) > 0 {
			allowOrigin(w.Header(), origins, r.Header.Get("Origin"))
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func allowOrigin(h http.Header, origins []string, origin string) {
	switch {
	case slices.Contains(origins, "*"):
		origin = "*"
	case slices.Contains(origins, origin):
		h.Add("Vary", "Origin") // the answer is not for a cache to show to another origin
	default:
		return
	}
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
}

// logAccess writes a line for every request at debug level. Queries are left
// out, they may hold values.
func (s *Server) logAccess(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.log.Debug().Str("method", r.Method).Str("path", r.URL.Path).Str("remote", r.RemoteAddr).
				Int("status", rec.status).Int64("bytes", rec.bytes).Dur("took", time.Since(start)).Msg("request")
		}()
		next.ServeHTTP(rec, r)
	})
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
