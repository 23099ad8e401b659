package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxBodyBytes is the longest body that is taken, as by the members
	// (contract §1.3).
	maxBodyBytes = 10 << 20

	// bodyTimeout is how long a client may take to send one.
	bodyTimeout = time.Minute
)

// handle answers a request for the gateway itself and forwards all others.
func (g *Gateway) handle(w http.ResponseWriter, r *http.Request) {
	if g.config.ReadOnly && r.Method != http.MethodGet {
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	if len(g.config.CORS) > 0 {
		allowOrigin(w.Header(), g.config.CORS, r.Header.Get("Origin"))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusOK)
			return
		}
	}
	switch r.URL.Path {
	case "/v2/config/local/proxy":
		onlyGet(g.showEndpoints)(w, r)
	case "/livez":
		onlyGet(g.showLive)(w, r)
	case "/readyz":
		onlyGet(g.showReady)(w, r)
	default:
		g.forward(w, r)
	}
}

func onlyGet(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		h(w, r)
	}
}

// showEndpoints lists the members that requests go to, the first one first.
func (g *Gateway) showEndpoints(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Endpoints []string `json:"endpoints"`
	}{texts(g.line.candidates())}, "\n")
}

func (g *Gateway) showLive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// showReady says whether clients should be sent here, and if not, why.
func (g *Gateway) showReady(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.closing.Err() != nil:
		http.Error(w, "the gateway is shutting down", http.StatusServiceUnavailable)
	case g.line.empty():
		http.Error(w, "no member is known yet", http.StatusServiceUnavailable)
	default:
		g.showLive(w, r)
	}
}

// forward hands a request to the members. Its body is read first, so that it
// can be sent again and a slow client does not keep a member busy.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request) {
	if slices.ContainsFunc(r.Header["Via"], func(via string) bool { return strings.Contains(via, g.name) }) {
		writeMessage(w, http.StatusLoopDetected, "proxy: this request has come back to where it was: "+
			"a member tells the gateway's address as its own; correct its --advertise-client-urls")
		return
	}
	if isWatch(r) {
		var done func()
		r, done = endWith(g.closing, r)
		defer done()
	}
	if err := takeBody(w, r); err != nil {
		refuseBody(w, err)
		return
	}
	g.proxy.ServeHTTP(clientWriter{w}, r)
}

// takeBody replaces the request's body by its bytes.
func takeBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	client := http.NewResponseController(w)
	_ = client.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer without a connection has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		return err
	}
	_ = client.SetReadDeadline(time.Time{})
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength, r.TransferEncoding = int64(len(body)), nil
	return nil
}

func refuseBody(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeMessage(w, http.StatusRequestEntityTooLarge,
			"proxy: the body of the request is longer than "+strconv.FormatInt(large.Limit, 10)+" bytes")
	case errors.Is(err, os.ErrDeadlineExceeded):
		writeMessage(w, http.StatusBadRequest, "proxy: the body of the request took too long")
	default:
		writeMessage(w, http.StatusBadRequest, "proxy: the body of the request cannot be read")
	}
}

// newProxy returns what carries requests and answers back and forth. That
// httputil does all the rest was measured beside the least that can be written
// by hand, see BenchmarkForward.
func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        g.rewrite,
		Transport:      &forwarder{line: g.line, transport: g.transport, failed: g.members.lookSoon, log: g.log},
		ModifyResponse: g.modify,
		ErrorHandler:   g.explain,
		ErrorLog:       g.errorLog(zerolog.DebugLevel),
		BufferPool:     &buffers{},
	}
}

// rewrite makes of what a client has sent what a member gets: the same, but
// for what concerns the connection, and with where it has been.
func (g *Gateway) rewrite(p *httputil.ProxyRequest) {
	// Members read queries that the standard library would not.
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	h := p.Out.Header
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := p.In.Header[name]; len(values) > 0 {
			h[name] = slices.Clone(values)
		}
	}
	if client, _, err := net.SplitHostPort(p.In.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", strings.Join(append(h["X-Forwarded-For"], client), ", "))
	}
	h.Add("Via", "1.1 "+g.name)
	// Members switch no protocols and send no trailers, the body is at hand, and
	// net/http sends again what has these keys, which mean nothing to members.
	for _, name := range []string{"Connection", "Te", "Upgrade", "Expect", "Idempotency-Key", "X-Idempotency-Key"} {
		h.Del(name)
	}
}

// modify looks at an answer before the client gets it.
func (g *Gateway) modify(resp *http.Response) error {
	if len(g.config.CORS) > 0 {
		for _, name := range []string{"Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Allow-Headers"} {
			resp.Header.Del(name) // ours are there already
		}
	}
	if isWatch(resp.Request) {
		resp.Body = watchBody(resp.Body)
	}
	return nil
}

// explain answers a request that no member has answered.
func (g *Gateway) explain(w http.ResponseWriter, r *http.Request, err error) {
	var nobody *unansweredError
	var lost *lostError
	switch {
	case errors.Is(err, errNobody):
		writeMessage(w, http.StatusServiceUnavailable, err.Error())
	case errors.As(err, &nobody), errors.As(err, &lost):
		writeMessage(w, http.StatusBadGateway, err.Error())
	case g.closing.Err() != nil:
		writeMessage(w, http.StatusServiceUnavailable, "proxy: the gateway is shutting down")
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client is gone
	default:
		g.log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.Path).Msg("a request was not forwarded")
		writeMessage(w, http.StatusBadGateway, "proxy: the request cannot be forwarded")
	}
}

// allowOrigin is httpapi's (contract §4.9).
func allowOrigin(h http.Header, origins []string, origin string) {
	switch {
	case slices.Contains(origins, "*"):
		origin = "*"
	case slices.Contains(origins, origin):
		h.Add("Vary", "Origin")
	default:
		return
	}
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
}

// writeMessage answers with an error in the shape of all but the key space's
// (contract §3.2).
func writeMessage(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Message string `json:"message"`
	}{text}, "")
}

func writeJSON(w http.ResponseWriter, status int, v any, end string) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // net/http tells
	}
	body = append(body, end...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone is of no interest
}

// texts returns URLs as they are written.
func texts(urls []url.URL) []string {
	all := make([]string, len(urls))
	for i, u := range urls {
		all[i] = u.String()
	}
	return all
}

// buffers lends out the space in which answers are copied.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
