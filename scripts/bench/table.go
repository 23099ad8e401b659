package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table is shown as text or as Markdown.
type table struct {
	title  string
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// text prints the table for people.
func (t *table) text(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", strings.ReplaceAll(t.title, "`", ""))
	tabs := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{t.header}, t.rows...) {
		fmt.Fprintln(tabs, "  "+strings.Join(row, "\t"))
	}
	return tabs.Flush()
}

// markdown prints the table for a page.
func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n", t.title)
	line := func(row []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | ")) }
	line(t.header)
	rule := make([]string, len(t.header))
	for i := range rule {
		rule[i] = "---:"
		if i < t.leftAligned() {
			rule[i] = "---"
		}
	}
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
}

// leftAligned returns how many columns are names rather than figures.
func (t *table) leftAligned() int {
	for i, name := range t.header {
		if name == "server" {
			return i + 1
		}
	}
	return 1
}

// onlyMedian shows a median without its range.
func onlyMedian(s spread, format func(float64) string) string { return format(s.Median) }

// withRange shows a median with the lowest and the highest round, if they
// look different.
func withRange(s spread, format func(float64) string) string {
	if format(s.Min) == format(s.Max) {
		return format(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", format(s.Median), format(s.Min), format(s.Max))
}

// whole shows a figure without decimals, in groups of three digits.
func whole(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	digits := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// figures returns a format with so many decimals.
func figures(decimals int) func(float64) string {
	return func(v float64) string {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "–"
		}
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
}

func ratio(v float64) string { return figures(2)(v) }

func percent(v float64) string { return figures(0)(100*v) + " %" }

func kibibytes(bytes float64) string { return figures(1)(bytes / (1 << 10)) }
func mebibytes(bytes float64) string { return figures(0)(bytes / (1 << 20)) }

// Formats that name their unit.
func inKibibytes(bytes float64) string { return kibibytes(bytes) + " KiB" }
func inMebibytes(bytes float64) string { return mebibytes(bytes) + " MiB" }
func inMilliseconds(v float64) string  { return whole(v) + " ms" }
func inPercent(v float64) string       { return figures(1)(v) + " %" }
