package httpapi

import (
	"path"
	"strings"

	"github.com/witan-kv/witan/store"
)

const keysPrefix = "/v2/keys"

// keyPath returns what stands behind /v2/keys in a percent-decoded request
// path, and whether the path is in the key space at all.
//
// Paths are cleaned in place, where etcd answers with a redirect that turns a
// PUT into a GET in most clients (contract §1.1). A path is read from the left
// and belongs to the key space as soon as it has come to /v2/keys: what
// follows is a key and ".." in it stays in the key space, so no spelling of a
// key reaches another endpoint.
func keyPath(decoded string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(decoded, keysPrefix); ok && (rest == "" || rest[0] == '/') {
		return rest, true
	}
	var seen []string
	for more := true; more; {
		var part string
		part, decoded, more = strings.Cut(decoded, "/")
		switch part {
		case "", ".":
		case "..":
			seen = seen[:max(len(seen)-1, 0)]
		default:
			seen = append(seen, part)
		}
		if len(seen) == 2 && seen[0] == "v2" && seen[1] == "keys" {
			return "/" + decoded, true
		}
	}
	return "", false
}

// parseKey returns the key that a request path in the key space names.
func parseKey(decoded string) store.Key {
	rest, _ := keyPath(decoded)
	return store.ParseKey(rest)
}

// routePath returns the path that the table of routes knows a request by: the
// cleaned path with its trailing slash, if it has one, or just /v2/keys for
// the whole key space.
func routePath(decoded string) string {
	if _, ok := keyPath(decoded); ok {
		return keysPrefix
	}
	clean := path.Clean("/" + decoded)
	if clean != "/" && strings.HasSuffix(decoded, "/") {
		clean += "/"
	}
	return clean
}
