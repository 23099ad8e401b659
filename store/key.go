package store

import (
	"path"
	"strings"
)

// Key names a node of the tree: an absolute, slash-separated path without
// empty, "." or ".." components. The zero Key is the root.
//
// Only ParseKey, Parent and Child make keys, so whoever holds one (routing,
// authorisation, the tree itself) knows it is canonical, and two spellings of
// one path can never be taken for two nodes.
type Key struct {
	path string // "" for the root, otherwise "/a/b"
}

// ParseKey returns the key that a raw, already percent-decoded path means:
// repeated and trailing slashes are dropped, "." and ".." resolved without
// ever climbing above the root (contract §1.1).
func ParseKey(raw string) Key {
	if isClean(raw) {
		return Key{path: raw}
	}
	clean := path.Clean("/" + raw)
	if clean == "/" {
		return Key{}
	}
	return Key{path: clean}
}

// isClean reports whether path.Clean would change nothing of an absolute path
// below the root. Nearly every key comes clean, and path.Clean copies it.
func isClean(raw string) bool {
	if raw == "" || raw[0] != '/' {
		return false
	}
	for rest := raw[1:]; ; {
		part, more, found := strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." {
			return false
		}
		if !found {
			return true
		}
		rest = more
	}
}

// String returns the key as clients write it; the root is "/".
func (k Key) String() string {
	if k.path == "" {
		return "/"
	}
	return k.path
}

// IsRoot reports whether k is the root of the tree.
func (k Key) IsRoot() bool { return k.path == "" }

// Parent returns the directory k is in. The root is its own parent.
func (k Key) Parent() Key {
	i := strings.LastIndexByte(k.path, '/')
	if i < 0 {
		return Key{}
	}
	return Key{path: k.path[:i]}
}

// Name returns the last component, or "" for the root.
func (k Key) Name() string {
	return k.path[strings.LastIndexByte(k.path, '/')+1:]
}

// Child returns the key of the entry called name in the directory k.
// name must be a single component: not empty, without a slash, not "." or "..".
func (k Key) Child(name string) Key {
	return Key{path: k.path + "/" + name}
}

// First returns the first component, or "" for the root. It decides which
// group a key belongs to (design §3).
func (k Key) First() string {
	if k.path == "" {
		return ""
	}
	first, _, _ := strings.Cut(k.path[1:], "/")
	return first
}

// Contains reports whether other is k or lies below it.
func (k Key) Contains(other Key) bool {
	if len(other.path) == len(k.path) {
		return other.path == k.path
	}
	return len(other.path) > len(k.path) && other.path[len(k.path)] == '/' && strings.HasPrefix(other.path, k.path)
}

// Hidden reports whether the last component starts with an underscore:
// listings and recursive watches from above leave such nodes out (contract §1.7).
func (k Key) Hidden() bool { return strings.HasPrefix(k.Name(), "_") }
