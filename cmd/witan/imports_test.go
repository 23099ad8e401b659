package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/witan-kv/witan/"

// room is what the packages below a path may know (style A1, design §2).
type room struct {
	ours   []string          // our packages it may import
	not    map[string]string // other packages it must not import, with the reason; "x/" is x and all below
	reason string            // why ours is what it is
}

const (
	noRaft  = "raft is the business of cluster"
	noStore = "only store knows what the tree is kept in"
	noHTTP  = "only httpapi, the peer port and discovery speak HTTP"
	noClock = "the same log must give the same tree on every member at any time; times come in commands"
	noIO    = "it runs on the goroutine that applies the log and must never wait"
)

func rooms() map[string]room {
	const (
		badger     = "github.com/dgraph-io/badger/"
		dragonboat = "github.com/lni/dragonboat/"
	)
	return map[string]room{
		"cmd/witan": {
			ours:   []string{"httpapi", "cluster", "cluster/discovery", "httpapi/gateway"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft},
			reason: "the command opens and closes; what a request does is decided below",
		},
		"httpapi": {
			ours:   []string{"cluster", "store", "watch", "openapi", "httpapi/park"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft},
			reason: "it knows a member by its Backend interface and the types in it",
		},
		"httpapi/park": {
			ours:   []string{"store", "watch"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft, "github.com/go-chi/": "it serves requests through one http.Handler"},
			reason: "it moves events from watchers to connections and need not know what they mean",
		},
		"httpapi/gateway": {
			not:    map[string]string{badger: noStore, dragonboat: noRaft},
			reason: "it sees members from outside, as clients do",
		},
		"cluster": {
			ours:   []string{"store", "watch", "cluster/peer"},
			not:    map[string]string{badger: noStore, "net/http": noHTTP, "github.com/go-chi/": noHTTP},
			reason: "it makes one store many and is used by httpapi, never the other way round",
		},
		"cluster/peer": {
			not:    map[string]string{badger: noStore, "github.com/go-chi/": noHTTP},
			reason: "it moves bytes between members and need not know what they mean",
		},
		"cluster/discovery": {
			ours:   []string{"cluster"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft, "github.com/go-chi/": noHTTP},
			reason: "it finds members before there is a node; of cluster it knows Peer and how ids are made",
		},
		"cluster/clustertest": {
			ours:   []string{"cluster", "store", "watch"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft},
			reason: "tests drive members through what cluster exports",
		},
		"store": {
			not: map[string]string{
				dragonboat: noRaft, "net": noHTTP, "net/http": noHTTP, "math/rand": noClock, "math/rand/v2": noClock, "crypto/rand": noClock,
			},
			reason: "it is pure: it returns what happened and calls nobody",
		},
		"watch": {
			ours:   []string{"store"},
			not:    map[string]string{badger: noStore, dragonboat: noRaft, "net": noIO, "net/http": noIO, "os": noIO, "io": noIO},
			reason: "of store it knows Event, Error and Key",
		},
		"openapi": {reason: "it is a document"},
		"scripts": {
			ours:   []string{"openapi/client"},
			reason: "scripts see the server from outside, as users do",
		},
	}
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

// TestImports keeps the rooms apart.
func TestImports(t *testing.T) {
	rules := rooms()
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		r, ok := rules[roomOf(rules, path)]
		if !ok {
			t.Errorf("%s is in no room: say in this test what it may import", path)
			continue
		}
		for _, imported := range p.Imports {
			if own, isOurs := strings.CutPrefix(imported, module); isOurs {
				if !slices.Contains(r.ours, own) && !sameScript(path, own) {
					t.Errorf("%s must not import %s: %s", path, own, r.reason)
				}
				continue
			}
			for banned, why := range r.not {
				if imported == banned || strings.HasSuffix(banned, "/") && strings.HasPrefix(imported+"/", banned) {
					t.Errorf("%s must not import %s: %s", path, imported, why)
				}
			}
		}
	}
}

// sameScript reports whether two packages belong to one program under scripts.
func sameScript(a, b string) bool {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	return as[0] == "scripts" && len(as) > 1 && len(bs) > 1 && slices.Equal(as[:2], bs[:2])
}

// roomOf returns the longest path with rules that path is or lies below.
func roomOf(rules map[string]room, path string) string {
	for ; path != "."; path = filepath.Dir(path) {
		if _, ok := rules[path]; ok {
			return path
		}
	}
	return ""
}

// TestStoreHasNoClock looks for the functions that read one.
func TestStoreHasNoClock(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"store" {
			continue
		}
		for _, file := range p.GoFiles {
			fset := token.NewFileSet()
			f := parseFile(t, fset, filepath.Join(p.Dir, file), parser.SkipObjectResolution)
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, sel.Sel.Name) {
					t.Errorf("%s: time.%s: %s", fset.Position(n.Pos()), sel.Sel.Name, noClock)
				}
				return true
			})
		}
	}
}

// TestPackageComments wants every package explained, in one place.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		var commented []string
		for _, file := range p.GoFiles {
			if parseFile(t, token.NewFileSet(), filepath.Join(p.Dir, file), parser.PackageClauseOnly|parser.ParseComments).Doc != nil {
				commented = append(commented, file)
			}
		}
		if len(commented) != 1 {
			t.Errorf("%s has %d package comments %v, want one", strings.TrimPrefix(p.ImportPath, module), len(commented), commented)
		}
	}
}

func parseFile(t *testing.T, fset *token.FileSet, path string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, path, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// packages lists the module's packages that have Go files beside tests.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) < 5 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}
