package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The two sides of every comparison.
const (
	left  = 0 // etcd
	right = 1 // witan, or etcd again in the self-check
)

// pair is the two servers with all that is known about them. It is for one
// goroutine.
type pair struct {
	sides   [2]*side
	groups  int
	idx     *indexMap
	journal *journal
	tops    map[string]bool // top-level directories that requests spoke of
}

type side struct {
	*server
	memory  *memory
	conn    conn
	cluster string // X-Etcd-Cluster-Id, once seen
}

// newPair starts both servers.
func newPair(ctx context.Context, products [2]product, groups int) (*pair, error) {
	p := &pair{groups: groups, tops: make(map[string]bool)}
	started := make(chan error, 2)
	for i, product := range products {
		go func() {
			srv, err := start(ctx, product)
			if err == nil {
				p.sides[i] = &side{server: srv, conn: conn{addr: srv.addr}}
			}
			started <- err
		}()
	}
	err := errors.Join(<-started, <-started)
	if err == nil {
		err = p.forget()
	}
	if err == nil && groups == 1 && p.idx.offset != 0 {
		// Reported as a difference would be, but nothing else can be trusted then.
		err = fmt.Errorf("fresh members should start at the same index; the difference is %d", p.idx.offset)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *pair) stop() error {
	var errs []error
	for _, s := range p.sides {
		if s != nil {
			s.conn.close()
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}

// forget starts anew with two servers whose trees are equal: it drops what was
// learned and measures how far apart their indexes are.
func (p *pair) forget() error {
	var at [2]uint64
	for i, s := range p.sides {
		a := s.do(request{method: "GET", target: "/v2/keys/"})
		n, err := strconv.ParseUint(a.header.Get("X-Etcd-Index"), 10, 64)
		if err := errors.Join(a.err, err); err != nil {
			return fmt.Errorf("%s: index: %w", s.name, err)
		}
		at[i] = n
		s.memory = newMemory(s.identities(), n+1)
	}
	p.idx = newIndexMap(p.groups == 1, int64(at[right])-int64(at[left]))
	p.journal = newJournal()
	return nil
}

// wipe removes all keys from both servers and starts anew, after a difference
// that left them with different trees.
func (p *pair) wipe() error {
	for _, s := range p.sides {
		for _, id := range s.memory.added {
			s.do(request{method: "DELETE", target: membersPrefix + "/" + id})
		}
		for top := range p.tops {
			target := "/v2/keys/" + url.PathEscape(top)
			if a := s.do(request{method: "GET", target: target}); a.status != 404 {
				s.do(request{method: "DELETE", target: target + "?recursive=true"})
			}
		}
		a := s.do(request{method: "GET", target: "/v2/keys/"})
		t, err := parseTree(strings.TrimSpace(string(a.body)))
		if err := errors.Join(a.err, err); err != nil {
			return fmt.Errorf("%s: wipe: %w", s.name, err)
		}
		node, _ := t.get("node")
		nodes, _ := node.get("nodes")
		for _, n := range nodes.items { // in-order keys in the root
			s.do(request{method: "DELETE", target: "/v2/keys" + (&url.URL{Path: n.text("key")}).EscapedPath() + "?recursive=true"})
		}
	}
	return p.forget()
}

// Time limits for an answer. One that waits for a key to expire takes as long
// as the TTL and what the servers may be late by; a membership change has 7 s
// in etcd.
const (
	answerTimeout = 5 * time.Second
	waitTimeout   = 10 * time.Second
)

func timeoutOf(r request) time.Duration {
	if strings.Contains(r.query(), "wait=") || strings.HasPrefix(r.path(), membersPrefix) {
		return waitTimeout
	}
	return answerTimeout
}

// do sends one request to this side alone.
func (s *side) do(r request) answer {
	if err := s.conn.send(r, timeoutOf(r)); err != nil {
		return answer{err: err}
	}
	return s.conn.receive(r.method)
}

// both sends the requests, one to each side, so that the servers work at the
// same time.
func (p *pair) both(reqs [2]request) [2]answer {
	var answers [2]answer
	for i, s := range p.sides {
		answers[i].err = s.conn.send(reqs[i], timeoutOf(reqs[i]))
	}
	// At the same time too, or the time one side needs would be taken from the other.
	var wg sync.WaitGroup
	for i, s := range p.sides {
		if answers[i].err == nil {
			wg.Go(func() { answers[i] = s.conn.receive(reqs[i].method) })
		}
	}
	wg.Wait()
	return answers
}

// expand resolves the templates of r for both sides and notes which top-level
// directory the request is about.
func (p *pair) expand(r request) [2]request {
	var reqs [2]request
	for i, s := range p.sides {
		reqs[i] = s.memory.expandRequest(r)
	}
	if top := topOf(reqs[left]); top != "" {
		p.tops[top] = true
	}
	return reqs
}

const keysPrefix = "/v2/keys"

// keyOf returns the key a request speaks of, cleaned; ok is false if its path
// is not one of a key.
func keyOf(r request) (key string, ok bool) {
	raw := r.path()
	if _, rest, absolute := strings.Cut(raw, "://"); absolute {
		_, raw, _ = strings.Cut(rest, "/")
		raw = "/" + raw
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return "", false
	}
	rest, found := strings.CutPrefix(decoded, keysPrefix)
	if !found || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Clean("/" + rest), true
}

// topOf returns the top-level directory of the request's key, "" for the root.
func topOf(r request) string {
	key, _ := keyOf(r)
	top, _, _ := strings.Cut(strings.TrimPrefix(key, "/"), "/")
	return top
}

// parameter returns the value the server takes for a parameter: that of a form
// body before that of the query.
func (r request) parameter(name string) string {
	if takesBody(r.method) {
		if form, err := url.ParseQuery(r.body); err == nil && form.Has(name) {
			return form.Get(name)
		}
	}
	query, _ := url.ParseQuery(r.query())
	return query.Get(name)
}
