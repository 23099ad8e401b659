package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// actor is one recorded client: pinned to a member, or moving on to the next when one does not answer.
// It is for one goroutine.
type actor struct {
	id     int
	rec    *history.Recorder
	roster *roster
	at     int // number in the roster
	pinned bool
	plain  bool   // asks for plain reads where it should ask for quorum reads: a run that must fail
	seen   uint64 // sent with every request when not 0
	lie    api.Lie

	timeout time.Duration
	client  *api.Client
	conn    int // numbers connections over all members
	last    struct {
		client *api.Client
		conns  int
	}
	values int
	rng    *rand.Rand
}

// patience is a client's own time-out, between the election time and the server's 7 s.
const patience = 1500 * time.Millisecond

// actor returns a client of its own number, whose choices depend on the seed and that number.
func (t *trial) actor(id, member int, pinned bool) *actor {
	return &actor{
		id: id, rec: t.rec, roster: t.roster, at: member % t.roster.len(), pinned: pinned, plain: t.opt.plain, timeout: patience,
		rng: rand.New(rand.NewPCG(t.opt.seed, uint64(id))), //nolint:gosec // must be repeatable
	}
}

// value is a new value, unique in the run.
func (a *actor) value() string {
	a.values++
	return fmt.Sprintf("%d.%d", a.id, a.values)
}

// do performs the operation and records it. Op says what to ask for: Kind, Key and, for compares, PrevValue and perhaps ByIndex.
func (a *actor) do(ctx context.Context, op *history.Op) *history.Op {
	if a.client == nil {
		if !a.pinned && a.roster.url(a.at) == "" {
			a.at = a.roster.after(a.at)
		}
		a.client = api.NewClient(a.roster.url(a.at), a.timeout)
		a.client.Lie = a.lie
	}
	op.Client, op.Member = a.id, a.at
	if op.Kind.Writes() && !op.Kind.Removes() && op.Value == "" {
		op.Value = a.value()
	}
	op.Call = a.rec.Clock.Now()
	answer, err := a.client.Do(ctx, a.request(op))
	op.Return = a.rec.Clock.Now()
	op.Conn = a.connection()
	if op.Kind.Writes() {
		op.Outcome = api.Outcome(answer, err)
	} else {
		op.Outcome = api.ReadOutcome(answer, err)
	}
	fill(op, answer)
	if err != nil {
		op.Err = err.Error()
	} else if op.Outcome == history.Unknown {
		op.Err = fmt.Sprintf("status %d: %s (%s)", answer.Status, answer.Message, answer.Cause)
	}
	if op.Outcome == history.Unknown && op.Kind.Writes() {
		op.Return = history.Never
	}
	a.rec.Add(op)
	if err != nil || answer.Status >= 500 {
		a.fallBack()
	}
	return op
}

// connection is the number of the connection the last request went over. It counts over all members.
func (a *actor) connection() int {
	if a.last.client != a.client || a.last.conns != a.client.Conn() {
		a.last.client, a.last.conns = a.client, a.client.Conn()
		a.conn++
	}
	return a.conn
}

// fallBack gives up the connection, and the member unless the actor is pinned to it.
func (a *actor) fallBack() {
	a.close()
	if !a.pinned {
		a.at = a.roster.after(a.at)
	}
}

// stranded says whether the actor is pinned to a member that has left.
func (a *actor) stranded() bool { return a.pinned && a.roster.url(a.at) == "" }

func (a *actor) close() {
	if a.client != nil {
		a.client.Close()
		a.client = nil
	}
}

func fill(op *history.Op, a api.Answer) {
	op.Header, op.Code = a.Index, a.Code
	if op.Outcome != history.OK {
		return
	}
	if a.Node != nil {
		op.Index = a.Node.ModifiedIndex
		if op.Kind == history.Post {
			op.Key = a.Node.Key
		}
		if !op.Kind.Writes() {
			op.Found, op.Value = true, a.Node.Value
		}
	}
	if a.PrevNode != nil {
		op.PrevIndex, op.PrevSeen = a.PrevNode.ModifiedIndex, a.PrevNode.Value
	}
}

// request is the operation on the wire (contract §1.2).
func (a *actor) request(op *history.Op) api.Request {
	r := api.Request{Method: http.MethodPut, Key: op.Key, Form: url.Values{}, Seen: a.seen}
	switch op.Kind {
	case history.Get, history.QuorumGet:
		r.Method = http.MethodGet
	case history.Delete, history.CAD:
		r.Method = http.MethodDelete
	case history.Post:
		r.Method = http.MethodPost
	case history.Create:
		r.Form.Set("prevExist", "false")
	case history.Update:
		r.Form.Set("prevExist", "true")
	}
	if op.Kind == history.QuorumGet && !a.plain {
		r.Form.Set("quorum", "true")
	}
	if op.Kind == history.CAS || op.Kind == history.CAD {
		if op.ByIndex > 0 {
			r.Form.Set("prevIndex", strconv.FormatUint(op.ByIndex, 10))
		} else {
			r.Form.Set("prevValue", op.PrevValue)
		}
	}
	if op.Kind.Writes() && !op.Kind.Removes() {
		r.Form.Set("value", op.Value)
		if op.TTL > 0 {
			r.Form.Set("ttl", strconv.Itoa(op.TTL))
		}
	}
	return r
}
