package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// tree is a JSON value that keeps everything the bytes said but their
// whitespace, of which there must be none: the order of fields, the spelling
// of numbers and the escapes of strings. Equal trees mean equal bytes.
type tree struct {
	kind   byte   // '{', '[', '"', or 'v' for numbers, true, false and null
	raw    string // scalars: the text as it stood, strings with their quotes
	fields []field
	items  []tree
}

type field struct {
	name  string
	value tree
}

var errNotCompact = errors.New("not compact JSON")

// parseTree parses one compact JSON value that takes up all of s.
func parseTree(s string) (tree, error) {
	t, rest, err := parseValue(s)
	if err == nil && rest != "" {
		err = errNotCompact
	}
	return t, err
}

func parseValue(s string) (tree, string, error) {
	if s == "" {
		return tree{}, "", errNotCompact
	}
	switch s[0] {
	case '{':
		return parseObject(s[1:])
	case '[':
		return parseArray(s[1:])
	case '"':
		raw, rest, err := cutString(s)
		return tree{kind: '"', raw: raw}, rest, err
	}
	end := strings.IndexAny(s, ",]} \t\r\n")
	if end < 0 {
		end = len(s)
	}
	if !isLiteral(s[:end]) {
		return tree{}, "", errNotCompact
	}
	return tree{kind: 'v', raw: s[:end]}, s[end:], nil
}

func isLiteral(s string) bool {
	switch s {
	case "true", "false", "null":
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func parseObject(s string) (tree, string, error) {
	t := tree{kind: '{'}
	if rest, ok := strings.CutPrefix(s, "}"); ok {
		return t, rest, nil
	}
	for {
		name, rest, err := cutString(s)
		if err != nil || !strings.HasPrefix(rest, ":") {
			return t, "", errNotCompact
		}
		v, rest, err := parseValue(rest[1:])
		if err != nil {
			return t, "", err
		}
		t.fields = append(t.fields, field{name: name[1 : len(name)-1], value: v})
		next, end, err := separator(rest, '}')
		if err != nil || end {
			return t, next, err
		}
		s = next
	}
}

func parseArray(s string) (tree, string, error) {
	t := tree{kind: '['}
	if rest, ok := strings.CutPrefix(s, "]"); ok {
		return t, rest, nil
	}
	for {
		v, rest, err := parseValue(s)
		if err != nil {
			return t, "", err
		}
		t.items = append(t.items, v)
		next, end, err := separator(rest, ']')
		if err != nil || end {
			return t, next, err
		}
		s = next
	}
}

// separator takes a comma, or the closing bracket (end is then true).
func separator(s string, closing byte) (rest string, end bool, err error) {
	if s == "" || s[0] != ',' && s[0] != closing {
		return "", false, errNotCompact
	}
	return s[1:], s[0] == closing, nil
}

func cutString(s string) (raw, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", "", errNotCompact
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i+1], s[i+1:], nil
		}
	}
	return "", "", errNotCompact
}

// get returns the field called name.
func (t tree) get(name string) (tree, bool) {
	i := slices.IndexFunc(t.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return tree{}, false
	}
	return t.fields[i].value, true
}

// text returns a string field decoded, or "".
func (t tree) text(name string) string {
	v, ok := t.get(name)
	if !ok {
		return ""
	}
	s, err := strconv.Unquote(v.raw)
	if err != nil { // JSON has escapes that Go has not; none of them matters here
		return strings.Trim(v.raw, `"`)
	}
	return s
}

// number returns an unsigned number field, or 0.
func (t tree) number(name string) uint64 {
	v, _ := t.get(name)
	n, err := strconv.ParseUint(v.raw, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// String renders the tree as the compact JSON it was read from.
func (t tree) String() string {
	switch t.kind {
	case '{':
		parts := make([]string, 0, len(t.fields))
		for _, f := range t.fields {
			parts = append(parts, `"`+f.name+`":`+f.value.String())
		}
		return "{" + strings.Join(parts, ",") + "}"
	case '[':
		parts := make([]string, 0, len(t.items))
		for _, item := range t.items {
			parts = append(parts, item.String())
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return t.raw
}
