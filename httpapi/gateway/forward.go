package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// errNobody says that no member is known yet.
var errNobody = errors.New("proxy: zero endpoints currently available")

// unansweredError says that none of the members that were tried can be reached.
type unansweredError struct{ tried int }

func (e *unansweredError) Error() string {
	return fmt.Sprintf("proxy: unable to get response from %d endpoint(s)", e.tried)
}

// lostError says that a write was sent and its answer did not come.
type lostError struct {
	member string
	err    error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("proxy: the connection to %s broke after the request was sent: it may have been done or not, "+
		"so look before sending it again", e.member)
}

func (e *lostError) Unwrap() error { return e.err }

// forwarder sends a request to the first member in the line that answers.
type forwarder struct {
	line      *line
	transport http.RoundTripper
	failed    func() // called when a member has failed
	log       zerolog.Logger
}

// RoundTrip implements http.RoundTripper. The request's body is sent as often
// as it must be, so it must have GetBody.
//
// A read that failed goes to the next member. A write does only if it did not
// leave: no connection, or one that broke before the head was written, without
// which no server begins. After that nobody knows.
func (f *forwarder) RoundTrip(req *http.Request) (*http.Response, error) {
	candidates := f.line.candidates()
	if len(candidates) == 0 {
		return nil, errNobody
	}
	for _, member := range candidates {
		resp, sent, err := f.attempt(req, member)
		if err == nil {
			return resp, nil
		}
		if req.Context().Err() != nil {
			return nil, err // the client is gone, or we are; the member has no part in it
		}
		f.log.Warn().Err(err).Str("member", member.String()).Str("method", req.Method).Msg("a member did not answer")
		f.line.fail(member)
		f.failed()
		if sent && !repeatable(req.Method) {
			return nil, &lostError{member: member.String(), err: err}
		}
	}
	return nil, &unansweredError{tried: len(candidates)}
}

// repeatable reports whether a request changes nothing.
func repeatable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// attempt sends the request to one member. sent is false if it certainly did
// not get there.
func (f *forwarder) attempt(req *http.Request, member url.URL) (resp *http.Response, sent bool, err error) {
	var head atomic.Bool // was written
	trace := &httptrace.ClientTrace{
		// An idle connection that the member has closed meanwhile makes
		// net/http take another, if nothing or only a read was written to it.
		GotConn:      func(httptrace.GotConnInfo) { head.Store(false) },
		WroteHeaders: func() { head.Store(true) },
	}
	out := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	target := *req.URL
	target.Scheme, target.Host = member.Scheme, member.Host
	out.URL = &target
	if req.GetBody != nil {
		if out.Body, err = req.GetBody(); err != nil {
			return nil, false, err
		}
	}
	resp, err = f.transport.RoundTrip(out)
	return resp, head.Load(), err
}
