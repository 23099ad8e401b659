package httpapi

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

func TestRoutePath(t *testing.T) {
	for decoded, want := range map[string]string{
		"/v2/keys":              "/v2/keys",
		"/v2/keys/":             "/v2/keys",
		"/v2/keys/a/b":          "/v2/keys",
		"/v2/keys/../members":   "/v2/keys",
		"//v2/./keys":           "/v2/keys",
		"/v2/members/../keys/a": "/v2/keys",
		"/v2/keys/..":           "/v2/keys",
		"/v2/keysfoo":           "/v2/keysfoo",
		"/v2/x/../../v2/keys":   "/v2/keys",
		"/v2/Keys":              "/v2/Keys",
		"/v2":                   "/v2",
		"/v2/":                  "/v2/",
		"/v2/members/":          "/v2/members/",
		"/v2//members":          "/v2/members",
		"/../version":           "/version",
		"/version/.":            "/version",
		"/a/v2/keys":            "/a/v2/keys",
		"":                      "/",
		"/":                     "/",
		"//":                    "/",
		"*":                     "/*",
	} {
		if got := routePath(decoded); got != want {
			t.Errorf("%q: got %q, want %q", decoded, got, want)
		}
	}
}

// Whatever is written behind /v2/keys stays in the key space and means the
// key that the store's own canonicaliser makes of it; decorating a path with
// what cleaning removes changes nothing.
func TestKeyPaths(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "_h", "..", ".", "", "...", "v2", "keys", "members", "é", "e\u0301", "\xff", "\x00", " ", ";x", "%2f", "\\"})
	rapid.Check(t, func(t *rapid.T) {
		rest := "/" + strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "/")
		want := store.ParseKey(rest)
		if clean := path.Clean(rest); want.String() != clean {
			t.Fatalf("%q is key %q, not %q", rest, want, clean)
		}
		for _, prefix := range []string{"/v2/keys", "//v2//keys", "/./v2/keys", "/v2/x/../keys", "/../v2/keys", "/version/../v2/./keys"} {
			if got := routePath(prefix + rest); got != keysPrefix {
				t.Fatalf("%q is routed to %q", prefix+rest, got)
			}
			if got := parseKey(prefix + rest); got != want {
				t.Fatalf("%q is key %q, want %q", prefix+rest, got, want)
			}
		}
	})
}

// A path outside the key space is where its cleaned form is, and what is
// cleaned is not in the key space.
func TestOtherPaths(t *testing.T) {
	part := rapid.SampledFrom([]string{"v2", "keys", "members", "..", ".", "", "x"})
	rapid.Check(t, func(t *rapid.T) {
		decoded := "/" + strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "/")
		got := routePath(decoded)
		if again := routePath(got); again != got {
			t.Fatalf("%q is routed to %q, which is routed to %q", decoded, got, again)
		}
		if got != keysPrefix && strings.TrimSuffix(got, "/") != strings.TrimSuffix(path.Clean(decoded), "/") {
			t.Fatalf("%q is routed to %q", decoded, got)
		}
	})
}
