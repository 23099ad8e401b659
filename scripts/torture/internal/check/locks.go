package check

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Hold is the time for which a client could take a lock for its own.
type Hold struct {
	Lock   string
	Holder int
	Token  uint64        // modifiedIndex of the key when it was created
	TTL    time.Duration // of the key
	From   time.Duration // it was told that it has the lock
	Kept   time.Duration // it last asked to keep it, and was told so
	Tried  time.Duration // the end of the last attempt to keep it, whatever came of it
	Ended  time.Duration // it asked to give it back, 0 if it never did
}

// until is when the holder had to assume that the lock may be another's, if clocks are off by a part drift at most.
func (h *Hold) until(drift float64) time.Duration {
	end := h.Kept + time.Duration(float64(h.TTL)/(1+drift))
	if h.Ended > 0 {
		end = min(end, h.Ended)
	}
	return end
}

// Exclusion says that nobody was given a lock while another still had to think it his own (LOCK-1, LOCK-2).
func Exclusion(holds []Hold, drift float64) []Violation {
	var out []Violation
	for _, of := range byLock(holds) {
		for i := 1; i < len(of); i++ {
			before, next := &of[i-1], &of[i]
			if next.From < before.until(drift) {
				out = append(out, violation("lock", nil, "%s was given to %d (token %d) at %v; %d (token %d) had it until %v",
					next.Lock, next.Holder, next.Token, next.From, before.Holder, before.Token, before.until(drift)))
			}
		}
	}
	return out
}

// byLock sorts holds by lock and then by token.
func byLock(holds []Hold) map[string][]Hold {
	out := map[string][]Hold{}
	for _, h := range holds {
		out[h.Lock] = append(out[h.Lock], h)
	}
	for _, of := range out {
		slices.SortFunc(of, func(a, b Hold) int { return cmp.Compare(a.Token, b.Token) })
	}
	return out
}

// TakeOvers says how long after the time to live of a lock whose holder died another had it, beside the time in which nobody was answered, and that this
// was not longer than late. A drift makes the time to live longer.
func TakeOvers(holds []Hold, ops []*history.Op, drift float64, late time.Duration) (took []time.Duration, found []Violation) {
	answered := map[string][]time.Duration{}
	for _, op := range ops {
		if op.Outcome == history.OK || op.Outcome == history.Fail && op.Code != 0 {
			answered[op.Key] = append(answered[op.Key], op.Return)
		}
	}
	for _, of := range answered {
		slices.Sort(of)
	}
	for lock, of := range byLock(holds) {
		for i := 1; i < len(of); i++ {
			dead, next := &of[i-1], &of[i]
			if dead.Ended > 0 {
				continue
			}
			due := dead.Tried + time.Duration(float64(dead.TTL)/(1-drift))
			by := next.From - due - silences(answered[lock], dead.Kept, next.From)
			took = append(took, max(by, 0))
			if by > late {
				found = append(found, violation("takeover", nil, "%s of %d (token %d) was free for %v with somebody to grant it, before %d had it (token %d)",
					lock, dead.Holder, dead.Token, by, next.Holder, next.Token))
			}
		}
	}
	return took, found
}

// silence is how long nobody may be answered before there counts as being no leader.
const silence = 400 * time.Millisecond

// silences are how long in all nobody was answered.
func silences(answered []time.Duration, from, to time.Duration) time.Duration {
	var sum time.Duration
	last := from
	for _, at := range append(slices.Clone(answered), to) {
		if at <= from || at > to {
			continue
		}
		if at-last > silence {
			sum += at - last
		}
		last = at
	}
	return sum
}

// Fenced is a write to what a lock guards.
type Fenced struct {
	Lock   string
	Holder int
	Token  uint64
}

// Fences says that no token came after a newer one.
func Fences(writes []Fenced) []Violation {
	var out []Violation
	newest := map[string]Fenced{}
	for _, w := range writes {
		if last := newest[w.Lock]; w.Token < last.Token {
			out = append(out, violation("fence", nil, "%s: %d wrote with token %d after %d had with %d", w.Lock, w.Holder, w.Token, last.Holder, last.Token))
			continue
		}
		newest[w.Lock] = w
	}
	return out
}

// Locks says that in the log a lock passes from one holder to the next only through nobody, and that the tokens in a register it guards never fall.
// The values of locks begin with the number of the client, those of registers end in @ and the token.
func (l *Log) Locks(locks, registers []string) []Violation {
	var out []Violation
	for _, lock := range locks {
		var holder string
		for _, e := range l.byKey[lock] {
			client, _, _ := strings.Cut(e.Value, ".")
			switch {
			case e.Removes():
				client = ""
			case holder != "" && client != holder:
				out = append(out, violation("lock", nil, "%s had it when %s was given it: %s", holder, client, e))
			}
			holder = client
		}
	}
	for _, register := range registers {
		var writes []Fenced
		for _, e := range l.byKey[register] {
			_, text, _ := strings.Cut(e.Value, "@")
			token, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				out = append(out, violation("fence", nil, "no token: %s", e))
				continue
			}
			writes = append(writes, Fenced{Lock: register, Token: token})
		}
		out = append(out, Fences(writes)...)
	}
	return out
}

// Appends says that each version of a list is the one before it and one element more (MR-14). It returns how many elements there are.
func (l *Log) Appends(isList func(key string) bool) (elements int, found []Violation) {
	for key, events := range l.byKey {
		if !isList(key) {
			continue
		}
		before := ""
		for i, e := range events {
			elements++
			element, longer := e.Value, i == 0
			if i > 0 {
				element, longer = strings.CutPrefix(e.Value, before+",")
			}
			if !longer || element == "" || strings.Contains(element, ",") {
				found = append(found, violation("append", nil, "%s at %d is not what was there and one element more: %q after %q", key, e.Index, e.Value, before))
			}
			before = e.Value
		}
	}
	return elements, found
}

// leased are the keys that may expire.
func leased(ops []*history.Op) map[string]bool {
	out := map[string]bool{}
	for _, op := range ops {
		if op.TTL > 0 {
			out[op.Key] = true
		}
	}
	return out
}
