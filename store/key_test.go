package store

import (
	"path"
	"testing"

	"pgregory.net/rapid"
)

func TestParseKey(t *testing.T) {
	for raw, want := range map[string]string{
		"":             "/",
		"/":            "/",
		"//":           "/",
		"a":            "/a",
		"/a/b":         "/a/b",
		"/a/b/":        "/a/b",
		"//a///b":      "/a/b",
		"/./a/.":       "/a",
		"/a/../b":      "/b",
		"/../../a":     "/a",
		"/a/..":        "/",
		"/..a/b.":      "/..a/b.",
		"/.../x":       "/.../x",
		"/a\x00b/\xff": "/a\x00b/\xff",
	} {
		if got := ParseKey(raw).String(); got != want {
			t.Errorf("ParseKey(%q) is %q, want %q", raw, got, want)
		}
	}
}

// Whatever the short cut for clean paths, the key is the cleaned path, and
// parsing it again changes nothing.
func TestParseKeyIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.StringMatching(`[/.a_]{0,12}`).Draw(t, "raw")
		k := ParseKey(raw)
		if want := path.Clean("/" + raw); k.String() != want {
			t.Errorf("ParseKey(%q) is %q, want %q", raw, k, want)
		}
		if again := ParseKey(k.String()); again != k {
			t.Errorf("ParseKey(%q) is %q", k, again)
		}
	})
}

func TestKeyParts(t *testing.T) {
	for _, tc := range []struct {
		key, parent, name, first string
		hidden                   bool
	}{
		{"/", "/", "", "", false},
		{"/a", "/", "a", "a", false},
		{"/_a", "/", "_a", "_a", true},
		{"/_a/b", "/_a", "b", "_a", false},
		{"/a/b/_c", "/a/b", "_c", "a", true},
	} {
		k := ParseKey(tc.key)
		if k.Parent().String() != tc.parent || k.Name() != tc.name || k.First() != tc.first || k.Hidden() != tc.hidden {
			t.Errorf("%s: parent %s, name %q, first %q, hidden %v", k, k.Parent(), k.Name(), k.First(), k.Hidden())
		}
	}
	for _, tc := range []struct {
		dir, key string
		want     bool
	}{
		{"/", "/", true}, {"/", "/a", true}, {"/a", "/a", true}, {"/a", "/a/b", true},
		{"/a", "/ab", false}, {"/a/b", "/a", false}, {"/a", "/b/a", false},
	} {
		if got := ParseKey(tc.dir).Contains(ParseKey(tc.key)); got != tc.want {
			t.Errorf("%s contains %s: %v", tc.dir, tc.key, got)
		}
	}
}
