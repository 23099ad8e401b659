package httpapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
	"github.com/witan-kv/witan/httpapi"
)

var rewrite = flag.Bool("rewrite", false, "write what the server answers into testdata")

// patience bounds every wait for an answer.
const patience = 20 * time.Second

// TestScripts sends the requests in testdata/*.txt and compares the answers to
// the byte. A step of a script is a line, perhaps with lines of request headers
// after it, and what came of it up to the next blank line:
//
//	METHOD TARGET [BODY]    a request; a body is a form unless a header says other
//	> Name: value           a request header
//	watch NAME TARGET       a GET of which only the head is awaited
//	next NAME               the next event of that watch, or its end
//	advance DURATION        let time pass for TTLs
//	fail TEXT | heal        the cluster answers everything with an error; no more
//
// Raft positions and the cluster's id are masked, and Date is left out.
func TestScripts(t *testing.T) {
	for _, file := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			m := newMember(t)
			runScript(t, file, &session{member: m, address: serve(t, m, httpapi.Config{MaxValueBytes: 100})})
		})
	}
}

// TestScriptsOnCluster runs the same scripts on a member with raft, but for
// those that begin with "# local": they stop the clock or break things.
func TestScriptsOnCluster(t *testing.T) {
	if testing.Short() || *rewrite {
		t.Skip("TestScripts has run them")
	}
	for _, file := range scripts(t) {
		if text, err := os.ReadFile(file); err != nil || bytes.HasPrefix(text, []byte("# local\n")) {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			c := clustertest.Start(t, clustertest.Options{})
			runScript(t, file, &session{address: serve(t, c.Nodes[0], httpapi.Config{MaxValueBytes: 100})})
		})
	}
}

func scripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return files
}

func runScript(t *testing.T, file string, s *session) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		asked, step := splitBlock(block)
		out.WriteString(asked)
		if step == nil {
			continue
		}
		answer, err := s.run(step)
		if err != nil {
			t.Fatalf("%s: %s: %v", file, step[0], err)
		}
		out.WriteString(answer)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// splitBlock returns what is the script's own of a block, comments included,
// and its step: the line and the request headers. A comment alone has no step.
func splitBlock(block string) (asked string, step []string) {
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case step == nil, strings.HasPrefix(line, "> "):
			step = append(step, line)
		default:
			return asked, step
		}
		asked += line + "\n"
	}
	return asked, step
}

// session is the state of one script.
type session struct {
	member  *member // nil on a cluster
	address string
	conn    *conn
	watches map[string]*openWatch
}

type openWatch struct {
	conn *conn
	resp *http.Response
	body *bufio.Reader
}

func (s *session) close() {
	s.conn.close()
	for _, w := range s.watches {
		w.conn.close()
	}
}

func (s *session) run(step []string) (string, error) {
	verb, rest, _ := strings.Cut(step[0], " ")
	switch verb {
	case "watch":
		return s.watch(rest)
	case "next":
		return s.next(rest)
	case "advance":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return "", err
		}
		s.member.advance(d)
		return "", nil
	case "fail":
		s.member.fail(failureNamed(rest))
		return "", nil
	case "heal":
		s.member.fail(nil)
		return "", nil
	}
	if s.conn == nil {
		c, err := dial(s.address)
		if err != nil {
			return "", err
		}
		s.conn = c
	}
	target, body, _ := strings.Cut(rest, " ")
	resp, err := s.conn.do(verb, target, body, step[1:])
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.Close {
		s.conn.close()
		s.conn = nil
	}
	return renderHead(resp) + renderBody(text), nil
}

func failureNamed(text string) error {
	known := []error{
		cluster.ErrTimeout, cluster.ErrTimeoutLeader, cluster.ErrStopped, cluster.ErrReadOnly,
		cluster.ErrPeerURLExists, cluster.ErrIDExists, cluster.ErrMemberRemoved,
		fmt.Errorf("%w: the removal of member 1 is not through in [2]", cluster.ErrChangePending),
		&cluster.UnsafeChangeError{Reason: "2 members would be left of which none has started"},
		&cluster.UnfinishedError{Member: testMemberID, Remove: true, Groups: []string{"meta", "3"}},
	}
	for _, err := range known {
		if err.Error() == text {
			return fmt.Errorf("cluster: propose: %w", err)
		}
	}
	return errors.New(text)
}

func (s *session) watch(rest string) (string, error) {
	name, target, _ := strings.Cut(rest, " ")
	c, err := dial(s.address)
	if err != nil {
		return "", err
	}
	resp, err := c.do(http.MethodGet, target, "", nil)
	if err != nil {
		return "", err
	}
	if s.watches == nil {
		s.watches = map[string]*openWatch{}
	}
	s.watches[name] = &openWatch{c, resp, bufio.NewReader(resp.Body)}
	return renderHead(resp), nil
}

func (s *session) next(name string) (string, error) {
	line, err := s.watches[name].body.ReadString('\n')
	if errors.Is(err, io.EOF) && line == "" {
		return "(end)\n", nil
	}
	return line, err
}

func renderHead(resp *http.Response) string {
	lines := []string{}
	for name, values := range resp.Header {
		for _, v := range values {
			switch name {
			case "Date":
				continue
			case "X-Raft-Index", "X-Raft-Term":
				v = "N"
			case "X-Etcd-Cluster-Id":
				v = "ID"
			}
			lines = append(lines, name+": "+v+"\n")
		}
	}
	if resp.ContentLength < 0 {
		lines = append(lines, "Transfer-Encoding: "+strings.Join(resp.TransferEncoding, ",")+"\n")
	}
	slices.Sort(lines)
	return resp.Status + "\n" + strings.Join(lines, "")
}

func renderBody(text []byte) string {
	switch {
	case len(text) == 0:
		return "(no body)\n"
	case text[len(text)-1] == '\n':
		return string(text)
	default:
		return string(text) + "\n(no newline)\n"
	}
}

// conn is a client that sends what it is told, however odd.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(address string) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

func (c *conn) close() {
	if c != nil {
		_ = c.Close()
	}
}

// do sends a request and returns the head of its answer.
func (c *conn) do(method, target, body string, headers []string) (*http.Response, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: witan\r\n", method, target)
	contentType := "application/x-www-form-urlencoded"
	for _, h := range headers {
		name, value, _ := strings.Cut(strings.TrimPrefix(h, "> "), ": ")
		if name == "Content-Type" {
			contentType = value
			continue
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	if body != "" {
		if contentType != "-" {
			fmt.Fprintf(&b, "Content-Type: %s\r\n", contentType)
		}
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	if _, err := io.WriteString(c, b.String()); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.r, &http.Request{Method: method})
}
