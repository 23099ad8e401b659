package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
)

// memberRequest is the body of a request to add or update a member.
type memberRequest struct {
	PeerURLs []string `json:"peerURLs" validate:"min=1,dive,peerurl"`
}

// maxMemberBytes is the longest body of such a request. It has room for some
// thousand URLs; all members keep in memory what is in it.
const maxMemberBytes = 64 << 10

// readPeerURLs returns the peer URLs that the body of a request names, each
// once, in ascending order. If there is a fault in it, it has been answered.
func (s *Server) readPeerURLs(w http.ResponseWriter, r *http.Request) (urls []string, ok bool) {
	if ct := mediaType(r.Header.Get(headerContentType)); ct != "application/json" {
		writeMessage(w, http.StatusUnsupportedMediaType, "Bad Content-Type "+ct+", accept application/json")
		return nil, false
	}
	body, err := s.readInTime(w, r, maxMemberBytes+1)
	if err == nil && len(body) > maxMemberBytes {
		writeMessage(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", maxMemberBytes))
		return nil, false
	}
	if err == nil {
		urls, err = s.parsePeerURLs(body)
	}
	if err != nil {
		writeMessage(w, http.StatusBadRequest, err.Error())
		return nil, false
	}
	return urls, true
}

// mediaType returns a Content-Type without its parameters, read as etcd does:
// only if there are some does its case not matter.
func mediaType(contentType string) string {
	if before, _, found := strings.Cut(contentType, ";"); found {
		return strings.TrimSpace(strings.ToLower(before))
	}
	return contentType
}

// readInTime reads the first limit bytes of a body from a client that may
// dawdle over it. At the body's end net/http lifts the time limit itself.
func (s *Server) readInTime(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTimeout)) // a writer without a connection has none
	body, err := io.ReadAll(io.LimitReader(r.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

func (s *Server) parsePeerURLs(body []byte) ([]string, error) {
	var req memberRequest
	var mistyped *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &req); errors.As(err, &mistyped) {
		return nil, fmt.Errorf(`unexpected JSON %s: the body must look like {"peerURLs":["http://HOST:PORT"]}`, mistyped.Value)
	} else if err != nil {
		return nil, err
	}
	for i, u := range req.PeerURLs {
		req.PeerURLs[i] = strings.TrimSpace(u)
	}
	if err := s.validator.Struct(&req); err != nil {
		return nil, explainPeerURLs(err)
	}
	for i, u := range req.PeerURLs {
		req.PeerURLs[i] = canonicalURL(u)
	}
	slices.Sort(req.PeerURLs)
	return slices.Compact(req.PeerURLs), nil
}

// newValidator returns a validator that knows the rule "peerurl".
func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	err := v.RegisterValidation("peerurl", func(f validator.FieldLevel) bool {
		return checkPeerURL(f.Field().String()) == nil
	})
	if err != nil {
		panic(err) // the rule has no name
	}
	return v
}

// explainPeerURLs puts the first broken rule of a memberRequest into words.
func explainPeerURLs(err error) error {
	var faults validator.ValidationErrors
	if !errors.As(err, &faults) {
		return err
	}
	if faults[0].Tag() == "min" {
		return errors.New("no valid URLs given")
	}
	return checkPeerURL(faults[0].Value().(string))
}

// checkPeerURL says what is wrong with a peer URL, nil if nothing is. What etcd
// refuses is refused in its words and its order (contract §4.1), and then what
// etcd takes although no member can be reached there.
func checkPeerURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"http", "https", "unix", "unixs"}, u.Scheme) {
		return fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", raw)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return fmt.Errorf(`URL address does not have the form "host:port": %s`, raw)
	}
	if u.Path != "" {
		return fmt.Errorf("URL must not contain a path: %s", raw)
	}
	if u.Scheme != "http" {
		return fmt.Errorf("members talk to each other by http only, not yet by %s: %s", u.Scheme, raw)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("URL must have a host and a port from 1 to 65535: %s", raw)
	}
	if strings.Contains(host, "%") {
		return fmt.Errorf("URL must not have an IPv6 zone, which other machines do not know: %s", raw)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("URL must be http://HOST:PORT and no more: %s", raw)
	}
	return nil
}

// canonicalURL returns a URL that was checked as it is kept: as Go writes it.
func canonicalURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.String()
}
