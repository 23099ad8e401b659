package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// etcd compared with itself must show no difference: what it does by chance is
// known.
func TestSelfCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Skip("no etcd in PATH")
	}
	dir := t.TempDir()
	script := "PUT /v2/keys/a\n  | value=1\nwatch w /v2/keys/a?wait=true\nPUT /v2/keys//b\nPUT /v2/keys/a\n  | value=2&ttl=0\nexpire /v2/keys/a\nevents w\nfill 5 /v2/keys/n\nclose w\nwipe\nGET /v2/keys/\n"
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-scripts", dir}, {"-seed", "3", "-requests", "150"}} {
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"-against", "etcd"}, args...), &out, &errs)
		if code != exitSame || !strings.Contains(out.String(), "differences: none") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{{"-against", "nobody"}, {"-groups", "0"}, {"surplus"}, {"-unknown"}, {"-etcd", "/nowhere/etcd", "-seed", "1", "-requests", "1"}} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), args, &out, &errs); code != exitFailed || errs.Len() == 0 {
			t.Errorf("%v: exit %d, %q", args, code, errs.String())
		}
	}
}

// A report prints each class with its examples, and the summary last.
func TestReport(t *testing.T) {
	rep := newReport()
	rep.request()
	rep.used("clean-path")
	x := fakeExchange("GET", "/v2/keys/a", reply(200, "5", node5), reply(404, "5", lost))
	for range 4 {
		rep.add(finding{source: "seed 1", position: 12, differences: []difference{{"status:200/404", "200 against 404"}}, exchange: x, played: []step{x.step}, shrunk: []step{x.step}})
	}
	rep.add(finding{source: "seed 2", position: 3, differences: []difference{{"watch:order", "a against b"}}, watcher: fakeWatcher([]string{event("set", "/a", 4)}, nil, false, true)})
	var out bytes.Buffer
	rep.print(&out, deviations(), false)
	for _, want := range []string{
		"== status:200/404: 4\n", "-- seed 1 step 12\n", "also: seed 1 step 12: 200 against 404\n", "etcd <- GET /v2/keys/a\n", `"cause":"/a"`,
		"as a script of 1 steps out of 1:\nGET /v2/keys/a\n", "== watch:order: 1\n", "ended: true", "deviation clean-path", "not seen in this run: semicolons",
		"conformance: 1 requests, 0 watches, differences: status:200/404 4, watch:order 1, 1 deviations seen",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
