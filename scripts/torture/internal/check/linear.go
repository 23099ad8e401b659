package check

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Linearizable says that each key behaves as one register with compare-and-swap (MR-1). Plain reads do not count: they may be stale.
// The second result is false when the time did not suffice.
func Linearizable(ops []*history.Op, limit time.Duration) ([]Violation, bool) {
	var input []porcupine.Operation
	ghosts := 0
	mayExpire := leased(ops) // of its own accord, which no operation shows
	for _, op := range ops {
		if !judged(op) || mayExpire[op.Key] {
			continue
		}
		p := porcupine.Operation{ClientId: op.Client, Input: op, Call: int64(op.Call), Return: int64(op.Return)}
		if op.Outcome == history.Unknown {
			ghosts++
			p.ClientId, p.Return = 1<<20+ghosts, math.MaxInt64
		}
		input = append(input, p)
	}
	conclusive := true
	var out []Violation
	deadline := time.Now().Add(limit)
	for _, part := range partition(input) {
		switch porcupine.CheckOperationsTimeout(register(), part, max(time.Until(deadline), time.Millisecond)) {
		case porcupine.Illegal:
			out = append(out, violation("linearizable", sample(part), "no order of these operations on %s explains their results",
				part[0].Input.(*history.Op).Key))
		case porcupine.Unknown:
			conclusive = false
		case porcupine.Ok:
		}
	}
	return out, conclusive
}

// judged says whether an operation's result constrains the register.
func judged(op *history.Op) bool {
	switch {
	case op.Kind == history.Post && op.Outcome != history.OK:
		return false // its key is not known
	case op.Kind == history.Get:
		return false
	case !op.Kind.Writes():
		return op.Outcome == history.OK
	}
	return op.Outcome != history.Fail || op.Code != 0
}

func partition(input []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, p := range input {
		key := p.Input.(*history.Op).Key
		keys[key] = append(keys[key], p)
	}
	out := make([][]porcupine.Operation, 0, len(keys))
	for _, part := range keys {
		out = append(out, part)
	}
	return out
}

const shown = 40 // operations quoted with a violation

func sample(part []porcupine.Operation) []*history.Op {
	var out []*history.Op
	for _, p := range part[:min(shown, len(part))] {
		out = append(out, p.Input.(*history.Op))
	}
	return out
}

// register is one key. Its state is the value, which is unique in a run, or "" for absent.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := step(state.(string), input.(*history.Op))
			return ok, next
		},
	}
}

func step(state string, op *history.Op) (bool, string) {
	switch op.Outcome {
	case history.Unknown:
		return true, effect(state, op)
	case history.Fail:
		return refused(state, op), state
	case history.OK:
	}
	switch op.Kind {
	case history.QuorumGet:
		return state == op.Value, state
	case history.Create, history.Post:
		return state == "", op.Value
	case history.CAS, history.CAD:
		return state == op.PrevValue, effect(state, op)
	case history.Set:
		return state == op.PrevSeen, op.Value
	case history.Update, history.Delete:
		return state != "" && state == op.PrevSeen, effect(state, op)
	}
	return false, state
}

// effect is the state after the operation ran on state, whatever it answered.
func effect(state string, op *history.Op) string {
	switch op.Kind {
	case history.Set:
		return op.Value
	case history.Create:
		if state == "" {
			return op.Value
		}
	case history.Update:
		if state != "" {
			return op.Value
		}
	case history.CAS:
		if state == op.PrevValue {
			return op.Value
		}
	case history.Delete:
		return ""
	case history.CAD:
		if state == op.PrevValue {
			return ""
		}
	}
	return state
}

// refused says whether the store may answer op's error code in that state (contract §3.1).
func refused(state string, op *history.Op) bool {
	switch op.Code {
	case 100: // key not found
		return state == ""
	case 101: // compare failed
		return state != "" && state != op.PrevValue
	case 105: // key already exists
		return state != ""
	}
	return true
}
