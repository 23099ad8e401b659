package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func TestReportPasses(t *testing.T) {
	for name, c := range map[string]struct {
		fill func(*report)
		want bool
	}{
		"nothing found":  {func(*report) {}, true},
		"a violation":    {func(r *report) { r.violate(check.Violation{Check: "durable"}) }, false},
		"proves nothing": {func(r *report) { r.inconclusive("too few") }, false},
		"a part failed": {func(r *report) {
			p := newReport("part", options{})
			p.violate(check.Violation{Check: "durable"})
			r.include(p)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReport("x", options{seed: 7})
			c.fill(r)
			r.finish(history.NewRecorder(), time.Second)
			if r.Pass != c.want {
				t.Errorf("pass is %t", r.Pass)
			}
		})
	}
}

func TestReportEndsInJSON(t *testing.T) {
	r := newReport("x", options{seed: 7})
	for range 3 * most {
		r.violate(check.Violation{Check: "durable", Detail: "gone"})
	}
	r.finish(history.NewRecorder(), time.Second)
	var out bytes.Buffer
	r.write(&out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got struct {
		Seed       uint64
		Pass       bool
		Violations []check.Violation
		Checked    map[string]int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Seed != 7 || got.Pass || len(got.Violations) != most || got.Checked["violations of durable"] != 3*most {
		t.Errorf("the line says %+v", got)
	}
}

// TestTooFewOperationsFail shows the gates against runs that prove nothing.
func TestTooFewOperationsFail(t *testing.T) {
	ok, unknown := &history.Op{Outcome: history.OK}, &history.Op{Outcome: history.Unknown}
	many := func(op *history.Op, n int) (out []*history.Op) {
		for range n {
			out = append(out, op)
		}
		return out
	}
	for name, c := range map[string]struct {
		ops  []*history.Op
		want int
	}{
		"enough":           {many(ok, 200), 0},
		"too few":          {many(ok, 199), 1},
		"too many unknown": {append(many(ok, 200), many(unknown, 60)...), 1},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial("x", options{duration: 10 * time.Second}, &bytes.Buffer{})
			tr.enough(c.ops)
			if got := len(tr.rep.Inconclusive); got != c.want {
				t.Errorf("inconclusive for %d reasons: %v", got, tr.rep.Inconclusive)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"nonsense"}, {"kill", "--members", "2"}, {"kill", "--kind", "consul"}, {"kill", "--binary", "/does/not/exist"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: exit %d, %q", args, code, errs.String())
		}
	}
}
