package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/witan-kv/witan/store"
)

// params are the checked parameters of a request to the key space, of
// whichever method: all are checked, few are used (contract §1.4).
type params struct {
	prevIndex        uint64 // 0 = no condition
	prevValue        string // "" = no condition
	waitIndex        uint64
	recursive        bool
	wait             bool
	stream           bool
	quorum           bool
	dir              bool
	noValueOnSuccess bool
	refresh          bool
	value            string
	ttl              int64
	hasTTL           bool
	prevExist        bool // if hasPrevExist
	hasPrevExist     bool
	seen             uint64 // the request's X-Etcd-Index (design §3)
}

// parseParams reads the parameters of r and checks them in the contract's
// order. The error is a *store.Error or a *tooLargeError.
func (s *Server) parseParams(r *http.Request) (params, error) {
	f := parseForm(r)
	p := params{
		prevIndex: f.uint(paramPrevIndex),
		waitIndex: f.uint(paramWaitIndex),
		recursive: f.bool(paramRecursive),
	}
	f.bool(paramSorted) // listings are always sorted
	p.wait = f.bool(paramWait)
	p.dir = f.bool(paramDir)
	p.quorum = f.bool(paramQuorum)
	p.stream = f.bool(paramStream)
	if p.wait && r.Method != http.MethodGet {
		f.fail(store.CodeInvalidField, `"wait" can only be used with GET requests`)
	}
	p.prevValue = f.values[paramPrevValue]
	if f.given[paramPrevValue] && p.prevValue == "" {
		f.fail(store.CodePrevValueRequired, `"prevValue" cannot be empty`)
	}
	p.noValueOnSuccess = f.bool(paramNoValueOnSuccess)
	p.ttl, p.hasTTL = f.seconds(paramTTL)
	p.prevExist, p.hasPrevExist = f.option(paramPrevExist)
	p.refresh, _ = f.option(paramRefresh)
	p.value = f.values[paramValue]
	if p.refresh && p.value != "" {
		f.fail(store.CodeRefreshValue, "A value was provided on a refresh")
	}
	if p.refresh && !p.hasTTL {
		f.fail(store.CodeRefreshTTLNeeded, "No TTL value set")
	}
	p.seen = f.seen(r.Header)
	if f.err != nil {
		return params{}, f.err
	}
	return p, s.checkSizes(&p)
}

// seen returns the index that the client says it has seen. The header is ours;
// etcd ignores it in requests.
func (f *form) seen(h http.Header) uint64 {
	values := h[headerIndex]
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil {
		f.fail(store.CodeIndexNaN, "invalid value for "+strconv.Quote(headerIndex))
	}
	return n
}

// checkSizes refuses what would be too large for the log. A prevValue is
// bound like a value: it travels in the log too.
func (s *Server) checkSizes(p *params) error {
	switch limit := s.config.MaxValueBytes; {
	case len(p.value) > limit:
		return &tooLargeError{param: paramValue, size: len(p.value), limit: limit}
	case len(p.prevValue) > limit:
		return &tooLargeError{param: paramPrevValue, size: len(p.prevValue), limit: limit}
	}
	return nil
}

// command returns what a PUT, POST or DELETE asks for. The operation is
// decided here and nowhere else (contract §1.2).
func (p *params) command(method string, key store.Key, now time.Time) store.Command {
	switch method {
	case http.MethodDelete:
		return p.deletion(key)
	case http.MethodPost:
		return p.creation(store.OpCreateInOrder, key, now)
	}
	switch {
	case p.hasPrevExist && !p.prevExist: // other conditions do not matter
		return p.creation(store.OpCreate, key, now)
	case p.conditional():
		c := p.write(store.OpCompareAndSwap, key, now)
		c.PrevIndex, c.PrevValue, c.Refresh = p.prevIndex, p.prevValue, p.refresh
		return c
	case p.prevExist:
		c := p.write(store.OpUpdate, key, now)
		c.Refresh = p.refresh
		return c
	default:
		c := p.creation(store.OpSet, key, now)
		c.Refresh = p.refresh
		return c
	}
}

func (p *params) conditional() bool { return p.prevIndex != 0 || p.prevValue != "" }

func (p *params) deletion(key store.Key) store.Command {
	if p.conditional() {
		return store.Command{Op: store.OpCompareAndDelete, Key: key, PrevIndex: p.prevIndex, PrevValue: p.prevValue}
	}
	return store.Command{Op: store.OpDelete, Key: key, Dir: p.dir || p.recursive, Recursive: p.recursive}
}

// creation is a write that makes a directory if it is asked for one.
func (p *params) creation(op store.Op, key store.Key, now time.Time) store.Command {
	c := p.write(op, key, now)
	if p.dir {
		c.Dir, c.Value = true, ""
	}
	return c
}

func (p *params) write(op store.Op, key store.Key, now time.Time) store.Command {
	c := store.Command{Op: op, Key: key, Value: p.value}
	if p.hasTTL {
		c.HasTTL, c.TTL, c.Expiration = true, p.ttl, expiration(now, p.ttl)
	}
	return c
}

// expiration returns now plus ttl seconds in Unix nanoseconds. What is after
// the last moment that 64 bits can express, in the year 2262, is shown as that
// moment.
func expiration(now time.Time, ttl int64) int64 {
	start := now.UnixNano()
	if ttl > (math.MaxInt64-start)/int64(time.Second) {
		return math.MaxInt64
	}
	return start + ttl*int64(time.Second)
}
