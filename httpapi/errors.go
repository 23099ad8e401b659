package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/store"
)

// tooLargeError refuses a parameter that is longer than the server allows.
type tooLargeError struct {
	param       param
	size, limit int
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the %s is %d bytes, more than --max-value-bytes %d allows", paramNames[e.param], e.size, e.limit)
}

// statusOf is the one table from error codes to HTTP (contract §3.1).
func statusOf(c store.Code) int {
	switch c {
	case store.CodeKeyNotFound:
		return http.StatusNotFound
	case store.CodeCompareFailed, store.CodeNodeExist:
		return http.StatusPreconditionFailed
	case store.CodeNotFile, store.CodeDirNotEmpty:
		return http.StatusForbidden
	case store.CodeUnauthorized:
		return http.StatusUnauthorized
	case store.CodeRaftInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// writeError answers a request to the key space that failed.
func (s *Server) writeError(w http.ResponseWriter, err error) {
	status, e := s.explain(err)
	buf := takeBuffer()
	defer buf.release()
	buf.b = appendError(buf.b, e)
	h := w.Header()
	h[headerIndex] = []string{strconv.FormatUint(e.Index, 10)}
	h[headerContentLength] = []string{strconv.Itoa(len(buf.b))}
	h[headerContentType] = jsonType
	w.WriteHeader(status)
	writeBody(w, buf.b)
}

// explain turns an error into a status and what the client is told.
//
// Everything that is not the client's mistake is 500 with code 300, as in
// etcd, a full disk included: v2 clients go to another member on any 5xx and
// repeat on 300, and another member may well have room.
func (s *Server) explain(err error) (int, *store.Error) {
	var refused *store.Error
	var large *tooLargeError
	switch {
	case errors.As(err, &refused):
		return statusOf(refused.Code), refused
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, &store.Error{Code: store.CodeInvalidForm, Cause: large.Error()}
	case errors.Is(err, cluster.ErrIndexTooHigh):
		return http.StatusBadRequest, &store.Error{Code: store.CodeIndexNaN, Cause: cluster.ErrIndexTooHigh.Error()}
	case errors.Is(err, context.Canceled): // the client is gone
	default:
		s.log.Warn().Err(err).Msg("a request failed")
	}
	return http.StatusInternalServerError, &store.Error{Code: store.CodeRaftInternal, Cause: causeOf(err)}
}

// causeOf returns the text clients know for an error of the cluster, without
// what was wrapped around it for the log.
func causeOf(err error) string {
	for _, known := range []error{cluster.ErrTimeoutLeader, cluster.ErrTimeout, cluster.ErrStopped, cluster.ErrReadOnly} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}
