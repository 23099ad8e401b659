package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
)

func TestLedger(t *testing.T) {
	runs, page := filepath.Join(t.TempDir(), "runs.jsonl"), filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# Before\n"+ledgerBegin+"old\n"+ledgerEnd+"After\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := newReport("storm", options{seed: 7, members: 3, groups: 4, kind: "witan"})
	good.fault("kill")
	good.fault("pause")
	good.Ops, good.Pass = 1200, true
	good.figure("gap worst s", 1.5)
	bad := newReport("kill", options{seed: 8, members: 1, groups: 4, kind: "witan"})
	bad.fault("kill")
	bad.Ops = 300
	bad.violate(check.Violation{Check: "durable", Detail: "a|b\nc"})
	for _, r := range []*report{good, bad} {
		if err := r.enter(runs, "/bin/true"); err != nil {
			t.Fatal(err)
		}
	}
	if code := run(t.Context(), []string{"ledger", "-in", runs, "-page", page}, os.Stdout, os.Stderr); code != 0 {
		t.Fatalf("status %d", code)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Before\n" + ledgerBegin, ledgerEnd + "After\n",
		"| witan, 4 groups | 2 | 0.0 | 1500 | 3 | 1 | kill 2, pause 1 |",
		"| storm | witan | 3 × 4 | 7 | 0.0 | 1200 | 2 | gap worst 1.50 s | 0 violations |",
		"**1 violation**: durable: a/b c |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") {
		t.Error("the old table is still there")
	}
}

func TestLedgerNeedsMarks(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# No marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"ledger", "-in", os.DevNull, "-page", page}, os.Stdout, os.Stderr); code != 2 {
		t.Errorf("status %d for a page without marks", code)
	}
}
