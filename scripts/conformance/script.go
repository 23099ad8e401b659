package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// script is a list of steps for a fresh pair of servers. Scripts are files;
// the random generator makes the same thing, so that what it finds can be
// printed, kept as a file and run again.
type script struct {
	name   string
	groups int // only for servers with so many groups; 0 = any
	steps  []step

	members int      // in each cluster; 0 = 1
	flags   []string // for all of them, on both sides
}

// step is one line of a script, with the indented lines below it.
type step struct {
	verb  string   // "" for a request; watch, events, close, expire, fill, wipe
	names []string // of the watches it speaks of
	count int      // fill
	req   request  // templates not yet expanded
	line  int      // where it stands in its file
}

//go:embed testdata/*.txt
var embedded embed.FS

// loadScripts reads all *.txt files of dir, or the built-in ones if dir is "".
func loadScripts(dir string) ([]script, error) {
	fsys, err := fs.Sub(embedded, "testdata")
	if dir != "" {
		fsys, err = os.DirFS(dir), nil
	}
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, err
	}
	var scripts []script
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		s, err := parseScript(strings.TrimSuffix(path.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// parseScript reads a script (README.md has the format).
func parseScript(name, text string) (script, error) {
	s := script{name: name}
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var err error
		switch {
		case strings.HasPrefix(line, "groups "):
			s.groups, err = strconv.Atoi(strings.TrimPrefix(line, "groups "))
		case strings.HasPrefix(line, "members "):
			s.members, err = strconv.Atoi(strings.TrimPrefix(line, "members "))
		case strings.HasPrefix(line, "flags "):
			s.flags = strings.Fields(strings.TrimPrefix(line, "flags "))
		case strings.HasPrefix(line, "  "):
			err = s.detail(line[2:])
		default:
			var st step
			st, err = parseStep(line)
			st.line = i + 1
			s.steps = append(s.steps, st)
		}
		if err != nil {
			return s, fmt.Errorf("%s.txt:%d: %w: %s", name, i+1, err, line)
		}
	}
	return s, nil
}

var (
	errSyntax = errors.New("not understood")
	errNoStep = errors.New("no request above this line")
)

// detail adds a header ("> Name: value") or a piece of body ("| text") to the
// step above.
func (s *script) detail(line string) error {
	if len(s.steps) == 0 {
		return errNoStep
	}
	req := &s.steps[len(s.steps)-1].req
	if header, ok := strings.CutPrefix(line, "> "); ok {
		req.header = append(req.header, header)
		return nil
	}
	body, ok := strings.CutPrefix(line, "| ")
	if !ok {
		return errSyntax
	}
	body, err := unescape(body)
	req.body += body
	return err
}

func parseStep(line string) (step, error) {
	words := strings.Fields(line)
	switch verb := words[0]; verb {
	case "wipe":
		return step{verb: verb}, nil
	case "events", "close":
		if len(words) < 2 {
			return step{}, errSyntax
		}
		return step{verb: verb, names: words[1:]}, nil
	case "expire":
		if len(words) != 2 {
			return step{}, errSyntax
		}
		return step{verb: verb, req: request{method: "GET", target: words[1]}}, nil
	case "watch", "fill":
		if len(words) < 3 {
			return step{}, errSyntax
		}
		target, err := unescape(strings.SplitN(line, " ", 3)[2])
		if verb == "watch" {
			return step{verb: verb, names: words[1:2], req: request{method: "GET", target: target}}, err
		}
		n, numberErr := strconv.Atoi(words[1])
		return step{verb: verb, count: n, req: request{method: "PUT", target: target}}, errors.Join(err, numberErr)
	}
	method, target, ok := strings.Cut(line, " ")
	if !ok || strings.ToUpper(method) != method {
		return step{}, errSyntax
	}
	target, err := unescape(target)
	return step{req: request{method: method, target: target}}, err
}

// unescape resolves \n, \r, \xHH and \\.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\x22`) + `"`)
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// String renders the step as a script has it.
func (s step) String() string {
	var b strings.Builder
	switch s.verb {
	case "":
		b.WriteString(s.req.method + " " + escape(s.req.target))
	case "watch":
		b.WriteString("watch " + s.names[0] + " " + escape(s.req.target))
	case "expire":
		b.WriteString("expire " + escape(s.req.target))
	case "fill":
		fmt.Fprintf(&b, "fill %d %s", s.count, escape(s.req.target))
	default:
		b.WriteString(strings.Join(slices.Concat([]string{s.verb}, s.names), " "))
	}
	for _, line := range s.req.header {
		b.WriteString("\n  > " + line)
	}
	if s.req.body != "" {
		b.WriteString("\n  | " + escape(s.req.body))
	}
	return b.String()
}
