package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Service says where a discovery service is.
type Service struct {
	URL    string // --discovery, the token included: http://HOST:PORT/v2/keys/DIRECTORY/TOKEN
	Proxy  string // --discovery-proxy: HOST:PORT or the URL of an HTTP proxy, "" = none
	Logger zerolog.Logger

	pause time.Duration // after the first failure, 0 = firstPause
}

const (
	requestTimeout = 5 * time.Second
	// watchTimeout is how long one watch may be silent. A service that went
	// away without a word is noticed by the request that follows.
	watchTimeout = time.Minute
	maxAnswer    = 1 << 20
	maxRedirects = 10
)

// Error codes of the v2 API that mean something here.
const (
	codeKeyNotFound = 100
	codeNodeExist   = 105
)

// client asks a discovery service.
type client struct {
	base    *url.URL // of the token's directory
	http    *http.Client
	log     zerolog.Logger
	retries backoff
}

func newClient(s Service) (*client, error) {
	base, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("--discovery: %q is not a URL; write http://HOST:PORT/v2/keys/DIRECTORY/TOKEN", s.URL)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") == "" || base.RawQuery != "" {
		return nil, fmt.Errorf("--discovery: %s is not the URL of a token; write http://HOST:PORT/v2/keys/DIRECTORY/TOKEN", base.Redacted())
	}
	base.Path, base.RawPath = path.Join("/", base.Path), ""
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if s.Proxy != "" {
		proxy, err := parseProxy(s.Proxy)
		if err != nil {
			return nil, err
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &client{
		base: base, log: s.Logger, retries: backoff{log: s.Logger, first: cmp.Or(s.pause, firstPause)},
		http: &http.Client{
			Transport: transport,
			// Go would turn a PUT into a GET; see send.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// parseProxy takes a bare HOST:PORT as well, as etcd does.
func parseProxy(raw string) (*url.URL, error) {
	full := raw
	if !strings.Contains(raw, "://") {
		full = "http://" + raw
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--discovery-proxy: %q is not the address of an HTTP proxy; write http://HOST:PORT", raw)
	}
	return u, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// request is one thing to ask of the service.
type request struct {
	method string
	key    string // below the token's directory, "" is the directory
	query  string
	value  string // to be set
	watch  bool   // may be silent for long; no answer is an answer
}

// answer is what the service says.
type answer struct {
	index uint64 // X-Etcd-Index
	node  *node  // nil if there is an error, or a watch saw nothing
	code  int    // of the API's error, 0 if there is none
	text  string // of the error
}

// node is a key of the service, or the token's directory.
type node struct {
	Key          string
	Value        string
	CreatedIndex uint64
	Nodes        []node
}

// unavailableError is a failure that may be gone at the next attempt.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// ask sends a request until the service answers it or ctx ends. All requests
// of this package can be repeated.
func (c *client) ask(ctx context.Context, r request) (answer, error) {
	for {
		a, err := c.once(ctx, r)
		switch {
		case err == nil:
			c.retries.reset()
			return a, nil
		case ctx.Err() != nil:
			return answer{}, context.Cause(ctx)
		case r.watch && errors.Is(err, context.DeadlineExceeded):
			return answer{}, nil
		case !errors.As(err, new(*unavailableError)):
			return answer{}, err
		}
		if err := c.retries.wait(ctx, err); err != nil {
			return answer{}, err
		}
	}
}

func (c *client) once(ctx context.Context, r request) (answer, error) {
	limit := requestTimeout
	if r.watch {
		limit = watchTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &unavailableError{fmt.Errorf("discovery: the answer of %s breaks off: %w", c.base.Host, err)}
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return answer{}, &unavailableError{fmt.Errorf("discovery: %s says %s: %.200q", c.base.Host, resp.Status, body)}
	}
	return c.parse(r, resp, body)
}

// send follows redirects with the method and the body kept, as a front-end
// before the service expects it.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	u := c.base.JoinPath(r.key)
	u.RawQuery = r.query
	for range maxRedirects {
		var body io.Reader
		if r.value != "" {
			body = strings.NewReader(url.Values{"value": {r.value}}.Encode())
		}
		req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
		if err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, &unavailableError{fmt.Errorf("discovery: %w", err)}
		}
		if resp.StatusCode/100 != 3 {
			return resp, nil
		}
		_ = resp.Body.Close()
		if u, err = resp.Location(); err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return nil, c.badEndpoint("redirects to nowhere")
		}
	}
	return nil, c.badEndpoint("redirects without end")
}

// parse reads an answer that is the service's own and not that of something
// before it.
func (c *client) parse(r request, resp *http.Response, body []byte) (answer, error) {
	var wire struct {
		Node           *node
		ErrorCode      int
		Message, Cause string
	}
	if r.watch && len(body) == 0 {
		return answer{}, nil // ended without an event
	}
	if err := json.Unmarshal(body, &wire); err != nil || wire.Node == nil && wire.ErrorCode == 0 {
		return answer{}, c.badEndpoint(fmt.Sprintf("answers %s %s with %s: %.100q", r.method, c.base.JoinPath(r.key).Path, resp.Status, body))
	}
	index, _ := strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64) // 0: a watch from now on
	return answer{
		index: index, node: wire.Node,
		code: wire.ErrorCode, text: strings.TrimSpace(wire.Message + " " + wire.Cause),
	}, nil
}

func (c *client) badEndpoint(what string) error {
	return fmt.Errorf("discovery: bad discovery endpoint: %s %s; --discovery must name a token on a server of the v2 API", c.base.Host, what)
}
