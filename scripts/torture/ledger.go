package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
	"github.com/witan-kv/witan/scripts/torture/internal/procs"
)

// entry is one run in the ledger, a line of JSON.
type entry struct {
	Date         string             `json:"date"`   // of its end, UTC
	Commit       string             `json:"commit"` // the server was built from
	Scenario     string             `json:"scenario"`
	Kind         procs.Kind         `json:"kind"`
	Seed         uint64             `json:"seed"`
	Members      int                `json:"members"`
	Groups       int                `json:"groups"`
	Seconds      float64            `json:"seconds"`
	Ops          int                `json:"ops"`
	Unknown      int                `json:"unknown"`
	Faults       map[string]int     `json:"faults"`
	Checked      map[string]int     `json:"checked"`
	Figures      map[string]float64 `json:"figures"`
	Violations   []check.Violation  `json:"violations,omitempty"`
	Inconclusive []string           `json:"inconclusive,omitempty"`
	Pass         bool               `json:"pass"`
}

// enter appends a run to the ledger.
func (r *report) enter(path, binary string) error {
	e := entry{
		Date: time.Now().UTC().Format("2006-01-02 15:04"), Commit: commitOf(binary), Scenario: r.Scenario, Kind: procs.Kind(r.Kind), Seed: r.Seed,
		Members: r.Members, Groups: r.Groups, Seconds: r.Seconds, Ops: r.Ops, Unknown: r.Unknown, Faults: r.Faults, Checked: r.Checked,
		Figures: r.Figures, Inconclusive: r.Inconclusive, Pass: r.Pass,
	}
	for _, v := range r.Violations {
		e.Violations = append(e.Violations, check.Violation{Check: v.Check, Detail: v.Detail})
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // part of the documentation
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// commitOf is what a server says it was built from, empty if it does not.
func commitOf(binary string) string {
	text, err := exec.Command(binary, "--version").Output() //nolint:gosec // the binary is what the caller asked to test
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if sha, ok := strings.CutPrefix(strings.TrimSpace(line), "Git SHA: "); ok && !strings.Contains(sha, " ") {
			return sha
		}
	}
	return ""
}

const (
	ledgerBegin = "<!-- The ledger: written by `torture ledger`, not by hand. -->\n"
	ledgerEnd   = "<!-- The ledger's end. -->\n"
)

// writeLedger puts the tables of a ledger into a page, between its marks.
func writeLedger(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("torture ledger", flag.ContinueOnError)
	f.SetOutput(stderr)
	in := f.String("in", "docs/reliability.jsonl", "the runs, a line each, as --ledger writes them")
	page := f.String("page", "docs/reliability.md", "the page whose tables are written anew")
	if err := f.Parse(args); err != nil {
		return err
	}
	runs, err := readLedger(*in)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(*page)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	before, rest, ok := bytes.Cut(text, []byte(ledgerBegin))
	_, after, closed := bytes.Cut(rest, []byte(ledgerEnd))
	if !ok || !closed {
		return fmt.Errorf("ledger: %s lacks the marks between which the tables go", *page)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(ledgerBegin)
	writeTotals(&b, runs)
	writeRuns(&b, runs)
	b.WriteString(ledgerEnd)
	b.Write(after)
	if err := os.WriteFile(*page, b.Bytes(), 0o644); err != nil { //nolint:gosec // part of the documentation
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func readLedger(path string) ([]entry, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var runs []entry
	for line := range strings.Lines(string(text)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("ledger: line %d of %s: %w", len(runs)+1, path, err)
		}
		runs = append(runs, e)
	}
	return runs, nil
}

// writeTotals writes the sums, of witan and of etcd, with one key group and with several. Runs that failed count
// for what they did, too.
func writeTotals(w io.Writer, runs []entry) {
	type column struct {
		name                             string
		runs, failed, faults, ops, found int
		seconds                          float64
		kinds                            map[string]int
	}
	var columns []*column
	for _, e := range runs {
		name := string(e.Kind)
		if e.Kind == procs.Witan {
			name = fmt.Sprintf("%s, %s", e.Kind, plural(e.Groups, "group"))
		}
		i := slices.IndexFunc(columns, func(c *column) bool { return c.name == name })
		if i < 0 {
			i, columns = len(columns), append(columns, &column{name: name, kinds: map[string]int{}})
		}
		c := columns[i]
		c.runs, c.ops, c.seconds = c.runs+1, c.ops+e.Ops, c.seconds+e.Seconds
		c.found += len(e.Violations)
		if !e.Pass {
			c.failed++
		}
		for kind, n := range e.Faults {
			c.kinds[kind] += n
			c.faults += n
		}
	}
	slices.SortFunc(columns, func(a, b *column) int { return cmp.Compare(b.name, a.name) })
	fmt.Fprint(w, "\n| | runs | hours | operations | faults | runs that failed | kinds of fault |\n|---|---|---|---|---|---|---|\n")
	for _, c := range columns {
		fmt.Fprintf(w, "| %s | %d | %.1f | %d | %d | %d | %s |\n", c.name, c.runs, c.seconds/3600, c.ops, c.faults, c.failed, counts(c.kinds))
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// writeRuns writes a line for every run.
func writeRuns(w io.Writer, runs []entry) {
	fmt.Fprint(w, "\n| date | commit | scenario | server | members × groups | seed | minutes | operations | faults | figures | result |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, e := range runs {
		faults := 0
		for _, n := range e.Faults {
			faults += n
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %d × %d | %d | %.1f | %d | %d | %s | %s |\n",
			e.Date, e.Commit, e.Scenario, e.Kind, e.Members, e.Groups, e.Seed, e.Seconds/60, e.Ops, faults, e.figures(), e.result())
	}
}

// figures are those about time: gaps, and how long things took.
func (e *entry) figures() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e.Figures)) {
		if what, ok := strings.CutSuffix(name, " s"); ok && (strings.Contains(what, "worst") || strings.Contains(what, "median")) {
			out = append(out, fmt.Sprintf("%s %.2f s", strings.TrimSuffix(what, ","), e.Figures[name]))
		}
	}
	return strings.Join(out, "; ")
}

func (e *entry) result() string {
	switch {
	case e.Pass:
		return "0 violations"
	case len(e.Violations) > 0:
		return fmt.Sprintf("**%s**: %s", plural(len(e.Violations), "violation"), oneLine(e.Violations[0].String()))
	case len(e.Inconclusive) > 0:
		return "inconclusive: " + oneLine(e.Inconclusive[0])
	}
	return "failed"
}

// oneLine makes a text fit for a cell.
func oneLine(text string) string {
	text = strings.NewReplacer("\n", " ", "|", "/").Replace(text)
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	return text
}
