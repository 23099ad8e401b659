package main

import (
	"testing"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// acks are acknowledged writes every 10 ms in [from, to).
func acks(from, to time.Duration) []*history.Op {
	var out []*history.Op
	for at := from; at < to; at += 10 * time.Millisecond {
		out = append(out, &history.Op{Outcome: history.OK, Return: at})
	}
	return out
}

func TestLongestGap(t *testing.T) {
	lost := 2 * time.Second
	twoGaps := append(append(acks(0, lost), acks(2500*time.Millisecond, 3*time.Second)...), acks(4*time.Second, lost+after)...)
	for name, c := range map[string]struct {
		ops  []*history.Op
		want time.Duration
	}{
		"none to speak of":     {acks(0, lost+after), 10 * time.Millisecond},
		"the longer of two":    {twoGaps, 1010 * time.Millisecond},
		"never over":           {acks(0, lost), after + 10*time.Millisecond},
		"only before the loss": {append(acks(500*time.Millisecond, lost), acks(lost, lost+after)...), 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := longestGap(c.ops, lost)
			if err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := longestGap(acks(lost, lost+after), lost); err == nil {
		t.Error("a run without writes before the loss was measured")
	}
}

func TestRacerAfter(t *testing.T) {
	r := racer{writes: []*history.Op{{Index: 5}, {Index: 9}}}
	for index, want := range map[uint64]uint64{0: 5, 4: 5, 5: 9, 8: 9} {
		if got := r.after(index); got == nil || got.Index != want {
			t.Errorf("after %d comes %v, want %d", index, got, want)
		}
	}
	if got := r.after(9); got != nil {
		t.Errorf("after the last comes %v", got)
	}
}

func TestMixIsWhole(t *testing.T) {
	sum := 0
	for _, m := range mix() {
		sum += m.share
	}
	if sum != 100 {
		t.Errorf("the shares add up to %d %%", sum)
	}
}
