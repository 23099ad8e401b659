package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Node is a key or a directory as the API shows it.
type Node struct {
	Key           string  `json:"key"`
	Value         string  `json:"value"`
	Dir           bool    `json:"dir"`
	Nodes         []*Node `json:"nodes"`
	ModifiedIndex uint64  `json:"modifiedIndex"`
	CreatedIndex  uint64  `json:"createdIndex"`
	TTL           int64   `json:"ttl"`
}

// Answer is a response that was read to its end. Code is 0 on success.
type Answer struct {
	Status   int
	Index    uint64 // X-Etcd-Index
	Action   string `json:"action"`
	Node     *Node  `json:"node"`
	PrevNode *Node  `json:"prevNode"`
	Code     int    `json:"errorCode"`
	Message  string `json:"message"`
	Cause    string `json:"cause"`
}

// Client talks to one member over at most one connection. It is for one goroutine.
type Client struct {
	Base    string
	Timeout time.Duration // of one request, not of watches
	Lie     Lie           // "" is the truth

	liar      *liar
	http      *http.Client
	transport *http.Transport
	conns     atomic.Int64 // a dial may end after the request that wanted it
}

// NewClient returns a client of the member at base.
func NewClient(base string, timeout time.Duration) *Client {
	c := &Client{Base: base, Timeout: timeout}
	c.transport = &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true}
	dial := (&net.Dialer{Timeout: timeout}).DialContext
	c.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, errors.Join(ErrNotSent, err)
		}
		c.conns.Add(1)
		return conn, nil
	}
	c.http = &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// ErrNotSent says that no connection was made, so that the member saw nothing of the request.
var ErrNotSent = errors.New("api: no connection")

// Conn numbers the client's connections: it grows when a new one was needed.
func (c *Client) Conn() int { return int(c.conns.Load()) }

// Close ends the connection.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is one call of the key API.
type Request struct {
	Method string
	Key    string
	Form   url.Values // body of PUT and POST, query of the others
	Seen   uint64     // sent as X-Etcd-Index when not 0: what the client knows of
}

// Do sends a request and reads the answer. An error means that no whole answer came.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	if c.Lie != "" {
		return c.pretend(ctx, r)
	}
	return c.exchange(ctx, r)
}

// pretend is Do with the client's lie.
func (c *Client) pretend(ctx context.Context, r Request) (Answer, error) {
	l := c.liars()
	r, made, done := l.request(r)
	if done {
		return made, nil
	}
	a, err := c.exchange(ctx, r)
	if err != nil {
		return a, err
	}
	a, again := l.answers(r, a)
	if again {
		return c.exchange(ctx, r)
	}
	return a, nil
}

func (c *Client) liars() *liar {
	if c.liar == nil {
		c.liar = &liar{lie: c.Lie}
	}
	return c.liar
}

func (c *Client) exchange(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("api: read the answer: %w", err)
	}
	a := Answer{Status: resp.StatusCode, Index: index(resp)}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("api: status %d: %q: %w", resp.StatusCode, body[:min(len(body), 200)], err)
	}
	return a, nil
}

func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	target := c.Base + "/v2/keys" + (&url.URL{Path: r.Key}).EscapedPath()
	var body io.Reader
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		body = strings.NewReader(r.Form.Encode())
	} else if len(r.Form) > 0 {
		target += "?" + r.Form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.Seen > 0 {
		req.Header.Set("X-Etcd-Index", strconv.FormatUint(r.Seen, 10))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return resp, nil
}

func index(resp *http.Response) uint64 {
	n, _ := strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
	return n
}

// List reads every file below key, by quorum or from the member itself.
func (c *Client) List(ctx context.Context, key string, quorum bool) (history.Listing, error) {
	form := url.Values{"recursive": {"true"}}
	if quorum {
		form.Set("quorum", "true")
	}
	a, err := c.Do(ctx, Request{Method: http.MethodGet, Key: key, Form: form})
	l := history.Listing{From: c.Base, Index: a.Index, Nodes: map[string]history.Node{}}
	switch {
	case err != nil:
		return l, err
	case a.Code == 100:
		return l, nil
	case a.Code != 0 || a.Node == nil:
		return l, fmt.Errorf("api: list %s: status %d, error %d %s (%s)", key, a.Status, a.Code, a.Message, a.Cause)
	}
	a.Node.files(l.Nodes)
	return l, nil
}

func (n *Node) files(into map[string]history.Node) {
	if !n.Dir && n.Key != "" {
		into[n.Key] = history.Node{Key: n.Key, Value: n.Value, Index: n.ModifiedIndex}
	}
	for _, child := range n.Nodes {
		child.files(into)
	}
}
