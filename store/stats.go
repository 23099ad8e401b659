package store

import "sync/atomic"

// Stats counts what this replica has done since it was opened, with the names
// of /v2/stats/store (contract §4.3). Writes are counted on every replica.
type Stats struct {
	GetsSuccess             uint64
	GetsFail                uint64
	SetsSuccess             uint64
	SetsFail                uint64
	DeleteSuccess           uint64
	DeleteFail              uint64
	UpdateSuccess           uint64
	UpdateFail              uint64
	CreateSuccess           uint64
	CreateFail              uint64
	CompareAndSwapSuccess   uint64
	CompareAndSwapFail      uint64
	CompareAndDeleteSuccess uint64
	CompareAndDeleteFail    uint64
	ExpireCount             uint64
}

// tally counts outcomes of one operation.
type tally struct{ success, fail atomic.Uint64 }

func (t *tally) count(ok bool) {
	if ok {
		t.success.Add(1)
	} else {
		t.fail.Add(1)
	}
}

type counts struct {
	gets    tally
	ops     [OpTick + 1]tally
	expired atomic.Uint64
}

func (c *counts) read(refused *Error) { c.gets.count(refused == nil) }

func (c *counts) applied(op Op, r *Result) {
	if int(op) < len(c.ops) {
		c.ops[op].count(r.Event != nil)
	}
	c.expired.Add(uint64(len(r.Expired)))
}

// Stats returns the counters as they are now.
func (s *Store) Stats() Stats {
	c := &s.counts
	success := func(op Op) uint64 { return c.ops[op].success.Load() }
	fail := func(op Op) uint64 { return c.ops[op].fail.Load() }
	return Stats{
		GetsSuccess:             c.gets.success.Load(),
		GetsFail:                c.gets.fail.Load(),
		SetsSuccess:             success(OpSet),
		SetsFail:                fail(OpSet),
		DeleteSuccess:           success(OpDelete),
		DeleteFail:              fail(OpDelete),
		UpdateSuccess:           success(OpUpdate),
		UpdateFail:              fail(OpUpdate),
		CreateSuccess:           success(OpCreate) + success(OpCreateInOrder),
		CreateFail:              fail(OpCreate) + fail(OpCreateInOrder),
		CompareAndSwapSuccess:   success(OpCompareAndSwap),
		CompareAndSwapFail:      fail(OpCompareAndSwap),
		CompareAndDeleteSuccess: success(OpCompareAndDelete),
		CompareAndDeleteFail:    fail(OpCompareAndDelete),
		ExpireCount:             c.expired.Load(),
	}
}
