package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// applyEnvironment sets the flags not given yet from their variables. It
// returns what to say about variables that look like ours and are not, and
// about values that are not taken as they are.
func (t *flagTable) applyEnvironment(env []string) (notes []string, err error) {
	values := ownVariables(env)
	var errs []error
	for _, k := range t.known {
		for _, variable := range k.variables() {
			raw, ok := values[variable]
			delete(values, variable)
			if !ok || t.given[k.name] != "" {
				continue
			}
			value, remark := cutRemark(raw)
			if remark != "" {
				notes = append(notes, fmt.Sprintf("environment variable %s: %q is taken for a remark and cut off; its value is %q", variable, remark, value))
			}
			if value == "" {
				continue
			}
			if err := t.apply(k.name, value, variable); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", variable, err))
			}
		}
	}
	for _, variable := range slices.Sorted(maps.Keys(values)) {
		notes = append(notes, "environment variable "+variable+" is not known and has no effect"+didYouMean(t.nearestVariable(variable)))
	}
	return notes, errors.Join(errs...)
}

// cutRemark takes the remark off a value such as "etcd_node1  // the first":
// two slashes after white space, or at the start and before white space, and
// what follows them. Files of variables are often written like that, but
// nothing on the way takes the remarks away. "http://h:1" has none.
func cutRemark(value string) (rest, remark string) {
	for i := 0; i < len(value); {
		n := strings.Index(value[i:], "//")
		if n < 0 {
			break
		}
		i += n
		before := strings.TrimRightFunc(value[:i], unicode.IsSpace)
		after := value[i+len("//"):]
		if len(before) < i || i == 0 && after != strings.TrimLeftFunc(after, unicode.IsSpace) {
			return strings.TrimSpace(before), value[i:]
		}
		i++
	}
	return value, ""
}

// variables names the environment variables of the flag, the strongest first.
func (k knownFlag) variables() []string {
	name := strings.ToUpper(strings.ReplaceAll(k.name, "-", "_"))
	switch k.origin {
	case fromEtcd:
		return []string{"WITAN_" + name, "ETCD_" + name}
	case ours:
		return []string{"WITAN_" + name}
	}
	return nil
}

// nearestVariable returns the variable that an unknown one may stand for: of
// the same family, if the flag has one there. "" if none is near.
func (t *flagTable) nearestVariable(unknown string) string {
	family, rest, _ := strings.Cut(unknown, "_")
	var names []string
	for _, k := range t.known {
		if k.origin != command {
			names = append(names, k.name)
		}
	}
	name := nearest(rest, names)
	for _, k := range t.known {
		if k.name != name {
			continue
		}
		variables := k.variables()
		if i := slices.IndexFunc(variables, func(v string) bool { return strings.HasPrefix(v, family+"_") }); i >= 0 {
			return variables[i]
		}
		return variables[0]
	}
	return ""
}

// ownVariables returns the non-empty variables whose names start as ours do.
func ownVariables(env []string) map[string]string {
	values := map[string]string{}
	for _, assignment := range env {
		name, value, _ := strings.Cut(assignment, "=")
		if value != "" && (strings.HasPrefix(name, "ETCD_") || strings.HasPrefix(name, "WITAN_")) {
			values[name] = value
		}
	}
	return values
}
