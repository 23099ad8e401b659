package check

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Unique says that no two acknowledged writes were given the same index (MR-0).
func Unique(ops []*history.Op) []Violation {
	var out []Violation
	seen := map[uint64]*history.Op{}
	for _, op := range ops {
		if !acked(op) {
			continue
		}
		if op.Index == 0 {
			out = append(out, violation("unique", []*history.Op{op}, "an acknowledged write has no index"))
			continue
		}
		if first := seen[op.Index]; first != nil {
			out = append(out, violation("unique", []*history.Op{first, op}, "index %d was given twice", op.Index))
		}
		seen[op.Index] = op
	}
	return out
}

// RealTime says that a write which began after another had been answered has the higher index, and that a quorum read's
// X-Etcd-Index is not below what had been answered before it began (MR-1). Unknown writes count once Resolve has found their index.
func RealTime(ops []*history.Op, order Order) []Violation {
	scopes := map[string][]*history.Op{}
	for _, op := range ops {
		s := order.scope(op.Key)
		scopes[s] = append(scopes[s], op)
	}
	var out []Violation
	for _, scoped := range scopes {
		sweep(scoped, func(op, newest *history.Op) {
			switch {
			case newest == nil:
			case op.Kind.Writes() && op.Outcome != history.Fail && op.Index > 0 && op.Index <= newest.Index:
				out = append(out, violation("realtime", []*history.Op{newest, op},
					"index %d was given to a write that began after index %d had been answered", op.Index, newest.Index))
			case op.Kind == history.QuorumGet && op.Outcome == history.OK && op.Header < newest.Index:
				out = append(out, violation("realtime", []*history.Op{newest, op},
					"a quorum read stands at %d though %d had been answered before it began", op.Header, newest.Index))
			}
		})
	}
	return out
}

// sweep visits the operations in the order in which they began, each with the acknowledged write
// of the highest index that was answered before that.
func sweep(ops []*history.Op, visit func(op, newest *history.Op)) {
	begun := slices.Clone(ops)
	slices.SortStableFunc(begun, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	var ended []*history.Op
	for _, op := range ops {
		if acked(op) {
			ended = append(ended, op)
		}
	}
	slices.SortStableFunc(ended, func(a, b *history.Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest *history.Op
	for _, op := range begun {
		for len(ended) > 0 && ended[0].Return < op.Call {
			if newest == nil || ended[0].Index > newest.Index {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		visit(op, newest)
	}
}

// InOrderNames says that the name a POST made is its index, 20 digits, and that names grow in real time in each directory (MR-11). With
// several groups the names in the root are top-level directories of their own; they grow with what each member has seen.
func InOrderNames(ops []*history.Op, order Order) []Violation {
	var out []Violation
	queues := map[string][]*history.Op{}
	for _, op := range ops {
		if op.Kind != history.Post || op.Outcome != history.OK {
			continue
		}
		if want := fmt.Sprintf("%020d", op.Index); path.Base(op.Key) != want {
			out = append(out, violation("names", []*history.Op{op}, "the name is %s, the index %d", path.Base(op.Key), op.Index))
		}
		dir := path.Dir(op.Key)
		if dir == "/" && order == BySegment {
			dir = fmt.Sprintf("/ through member %d", op.Member)
		}
		queues[dir] = append(queues[dir], op)
	}
	for dir, queue := range queues {
		sweep(queue, func(op, newest *history.Op) {
			if newest != nil && path.Base(op.Key) <= path.Base(newest.Key) {
				out = append(out, violation("names", []*history.Op{newest, op}, "a later name in %s is not greater", dir))
			}
		})
	}
	return out
}

// Connections says that X-Etcd-Index never goes back on one connection (MR-0).
func Connections(ops []*history.Op, order Order) []Violation {
	type stream struct {
		client, conn int
		scope        string
	}
	ordered := slices.Clone(ops)
	slices.SortStableFunc(ordered, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	last := map[stream]*history.Op{}
	var out []Violation
	for _, op := range ordered {
		if op.Header == 0 || op.Outcome == history.Unknown {
			continue
		}
		s := stream{op.Client, op.Conn, order.scope(op.Key)}
		if before := last[s]; before != nil && op.Header < before.Header {
			out = append(out, violation("connection", []*history.Op{before, op}, "X-Etcd-Index went from %d back to %d", before.Header, op.Header))
		}
		last[s] = op
	}
	return out
}

// OwnWrites says that a plain read through a member shows what that member acknowledged before, or something newer.
func OwnWrites(ops []*history.Op) []Violation {
	var out []Violation
	for _, op := range ops {
		if op.Kind != history.Get || op.AtLeast == 0 || op.Outcome != history.OK {
			continue
		}
		switch {
		case op.Found && op.Index < op.AtLeast:
			out = append(out, violation("own-writes", []*history.Op{op}, "shows version %d though %d had been acknowledged there", op.Index, op.AtLeast))
		case !op.Found && op.Header < op.AtLeast:
			out = append(out, violation("own-writes", []*history.Op{op}, "stands at %d though %d had been acknowledged there", op.Header, op.AtLeast))
		}
	}
	return out
}
