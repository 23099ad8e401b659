package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// report is what a run found: one line of JSON for machines, a table for people. Adding to it is safe for concurrent use.
type report struct {
	Scenario     string             `json:"scenario"`
	Kind         string             `json:"kind"`
	Seed         uint64             `json:"seed"`
	Members      int                `json:"members"`
	Groups       int                `json:"groups"`
	Pass         bool               `json:"pass"`
	Seconds      float64            `json:"seconds"`
	Ops          int                `json:"ops"`
	OK           int                `json:"ok"`
	Fail         int                `json:"fail"`
	Unknown      int                `json:"unknown"`
	Faults       map[string]int     `json:"faults"`
	Checked      map[string]int     `json:"checked"` // what was looked at, by check
	Figures      map[string]float64 `json:"figures"` // names end in their unit
	Violations   []check.Violation  `json:"violations"`
	Inconclusive []string           `json:"inconclusive"`
	Parts        []*report          `json:"parts,omitempty"` // of quick

	mu    sync.Mutex
	order []string // of figures
}

func newReport(name string, o options) *report {
	return &report{
		Scenario: name, Kind: string(o.kind), Seed: o.seed, Members: o.members, Groups: o.groups,
		Faults: map[string]int{}, Checked: map[string]int{}, Figures: map[string]float64{},
		Violations: []check.Violation{}, Inconclusive: []string{},
	}
}

// most bounds the violations kept of each check: they tend to come in thousands.
const most = 20

func (r *report) violate(found ...check.Violation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range found {
		same := 0
		for _, old := range r.Violations {
			if old.Check == v.Check {
				same++
			}
		}
		r.Checked["violations of "+v.Check]++
		if same < most {
			r.Violations = append(r.Violations, v)
		}
	}
}

func (r *report) inconclusive(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Inconclusive = append(r.Inconclusive, fmt.Sprintf(format, args...))
}

func (r *report) fault(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults[kind]++
}

func (r *report) checked(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Checked[what] += n
}

func (r *report) figure(name string, value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.Figures[name]; !ok {
		r.order = append(r.order, name)
	}
	r.Figures[name] = value
}

// worst is figure for the greatest of several values.
func (r *report) worst(name string, value float64) {
	r.mu.Lock()
	old := r.Figures[name]
	r.mu.Unlock()
	r.figure(name, max(old, value))
}

// include makes another report a part of this one. What it found counts here too.
func (r *report) include(p *report) {
	r.Parts = append(r.Parts, p)
	for _, v := range p.Violations {
		v.Detail = fmt.Sprintf("%s, seed %d: %s", p.Scenario, p.Seed, v.Detail)
		r.violate(v)
	}
	for _, why := range p.Inconclusive {
		r.inconclusive("%s, seed %d: %s", p.Scenario, p.Seed, why)
	}
	for kind, n := range p.Faults {
		r.Faults[kind] += n
	}
	for what, n := range p.Checked {
		r.checked(what, n)
	}
	r.Ops, r.OK, r.Fail, r.Unknown = r.Ops+p.Ops, r.OK+p.OK, r.Fail+p.Fail, r.Unknown+p.Unknown
}

// finish counts the operations and says whether the run passed.
func (r *report) finish(rec *history.Recorder, took time.Duration) {
	for _, op := range rec.Ops() {
		r.Ops++
		switch op.Outcome {
		case history.OK:
			r.OK++
		case history.Fail:
			r.Fail++
		case history.Unknown:
			r.Unknown++
		}
	}
	r.Seconds = took.Seconds()
	r.Pass = len(r.Violations) == 0 && len(r.Inconclusive) == 0
}

// write prints the table and then the JSON line, which is the last of the run.
func (r *report) write(w io.Writer) {
	r.table(w)
	line, err := json.Marshal(r)
	if err != nil {
		line = fmt.Appendf(nil, "{%q:%q}", "error", err)
	}
	fmt.Fprintf(w, "%s\n", line)
}

func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%s, %d members, %d groups, seed %d, %.1f s\n", r.Scenario, r.Kind, r.Members, r.Groups, r.Seed, r.Seconds)
	fmt.Fprintf(t, "operations\t%d: ok %d, fail %d, unknown %d\n", r.Ops, r.OK, r.Fail, r.Unknown)
	fmt.Fprintf(t, "faults\t%s\n", counts(r.Faults))
	fmt.Fprintf(t, "checked\t%s\n", counts(r.Checked))
	for _, name := range r.order {
		fmt.Fprintf(t, "%s\t%.3g\n", name, r.Figures[name])
	}
	fmt.Fprintf(t, "violations\t%d\n", len(r.Violations))
	_ = t.Flush()
	for _, v := range r.Violations {
		fmt.Fprintln(w, "  "+v.String())
		for _, e := range v.Evidence[:min(len(v.Evidence), 6)] {
			fmt.Fprintln(w, "      "+e)
		}
	}
	for _, why := range r.Inconclusive {
		fmt.Fprintln(w, "  inconclusive:", why)
	}
	result := "FAIL"
	if r.Pass {
		result = "PASS"
	}
	fmt.Fprintln(w, result)
}

func counts(m map[string]int) string {
	var parts []string
	for k, n := range m {
		parts = append(parts, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
