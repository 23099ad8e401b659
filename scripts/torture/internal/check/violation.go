package check

import (
	"fmt"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Violation is one broken promise with what shows it.
type Violation struct {
	Check    string   `json:"check"` // which check found it: durable, realtime, …
	Detail   string   `json:"detail"`
	Evidence []string `json:"evidence,omitempty"`
}

// String is the violation on one line.
func (v Violation) String() string { return v.Check + ": " + v.Detail }

func violation(check string, ops []*history.Op, format string, args ...any) Violation {
	v := Violation{Check: check, Detail: fmt.Sprintf(format, args...)}
	for _, op := range ops {
		if op != nil {
			v.Evidence = append(v.Evidence, op.String())
		}
	}
	return v
}

// Order says over what the index order is strict in real time (design §3).
type Order int

// Whole is the order of one group; BySegment that of several.
const (
	Whole Order = iota
	BySegment
)

// OrderOf is the order a cluster of that many key groups promises.
func OrderOf(groups int) Order {
	if groups > 1 {
		return BySegment
	}
	return Whole
}

func (o Order) scope(key string) string {
	if o == Whole {
		return ""
	}
	return history.Segment(key)
}

// acked says whether an operation is a write that was acknowledged.
func acked(op *history.Op) bool { return op.Kind.Writes() && op.Outcome == history.OK }
