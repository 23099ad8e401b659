package store_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print into them; review the difference")

// TestScripts runs testdata/*.txt. A line that begins with "> " is a command,
// the lines below it up to the next blank line are what it prints. Lines that
// begin with # are for the reader. See script.run for the commands.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (-want +got, -rewrite accepts):\n%s", file, diff)
			}
		})
	}
}

// runScript returns the text with what the commands print now.
func runScript(t *testing.T, text string) string {
	s := &script{t: t}
	defer s.end()
	var out strings.Builder
	printing := false
	for line := range strings.Lines(text) {
		command, is := strings.CutPrefix(line, "> ")
		switch {
		case is:
			out.WriteString(line)
			s.run(&out, strings.Fields(command))
			printing = true
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			out.WriteString(line)
			printing = false
		case !printing:
			t.Fatalf("a line that is neither command nor output: %q", line)
		}
	}
	return out.String()
}

type script struct {
	t *testing.T
	r *replica
	b *strings.Builder
}

func (s *script) end() {
	if s.r != nil {
		s.r.close()
	}
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(s.b, format, args...) }

var scriptOps = map[string]store.Op{
	"set": store.OpSet, "create": store.OpCreate, "post": store.OpCreateInOrder, "update": store.OpUpdate,
	"cas": store.OpCompareAndSwap, "delete": store.OpDelete, "cad": store.OpCompareAndDelete, "tick": store.OpTick,
}

// run runs one command:
//
//	open [group=G] [groups=N] [history=N]        a new store with FirstIndex 3
//	set|create|post|update|cas KEY [VALUE] [dir] [ttl=S] [refresh] [prevValue=V] [prevIndex=N]
//	delete|cad KEY [dir] [recursive] [prevValue=V] [prevIndex=N]
//	tick
//	        all of these: [floor=N] [origin=ORIGIN/BOOT/SEQ/SETTLED]
//	advance DURATION                             in steps of one tick
//	step CLOCK STEP                              one OpAdvance as given
//	get KEY [recursive] [at=N]
//	events FROM [TO [MAX]]
//	removed INDEX KEY...                         what the event of the history says of them
//	reopen | crash | move | flush                move: snapshot and restore into a new store
//	position | clock | stats
func (s *script) run(b *strings.Builder, f []string) {
	s.b = b
	if s.r == nil && f[0] != "open" {
		s.r = newReplica(s.t, s.t.TempDir(), store.Options{Groups: 1, FirstIndex: 3, FlushInterval: never})
	}
	if op, ok := scriptOps[f[0]]; ok {
		s.result(s.r.apply(parseCommand(s.t, op, f[1:])))
		return
	}
	switch f[0] {
	case "open":
		s.open(f[1:])
	case "advance":
		d, err := time.ParseDuration(f[1])
		s.must(err)
		for ; d > 0; d -= store.Tick {
			now, _ := s.r.Clock()
			s.result(s.r.apply(store.Command{Op: store.OpAdvance, Clock: now, Step: int64(min(d, store.Tick))}))
		}
	case "step":
		s.result(s.r.apply(store.Command{Op: store.OpAdvance, Clock: int64(s.number(f[1])), Step: int64(s.number(f[2]))}))
	case "get":
		s.get(f[1:])
	case "events":
		s.events(f[1:])
	case "removed":
		s.removed(s.number(f[1]), f[2:])
	case "reopen":
		s.r.reopen()
	case "crash":
		s.r.crash()
	case "move":
		s.r.move()
	case "flush":
		s.must(s.r.Flush())
	case "position":
		index, raft := s.r.Position()
		s.printf("index %d raft %d\n", index, raft)
	case "clock":
		now, keys := s.r.Clock()
		s.printf("%v, %d keys\n", time.Duration(now), keys)
	case "stats":
		s.printf("%+v\n", s.r.Stats())
	default:
		s.t.Fatalf("unknown command %q", f[0])
	}
}

func (s *script) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *script) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	s.must(err)
	return n
}

func (s *script) open(args []string) {
	o := store.Options{Groups: 1, FirstIndex: 3, FlushInterval: never}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		n := int(s.number(value))
		switch name {
		case "group":
			o.Group = n
		case "groups":
			o.Groups = n
		case "history":
			o.History = n
		default:
			s.t.Fatalf("unknown option %q", arg)
		}
	}
	s.end()
	s.r = newReplica(s.t, s.t.TempDir(), o)
}

func parseCommand(t *testing.T, op store.Op, args []string) store.Command {
	c := store.Command{Op: op}
	if op != store.OpTick {
		c.Key = store.ParseKey(args[0])
		args = args[1:]
	}
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "dir":
			c.Dir = true
		case "recursive":
			c.Recursive = true
		case "refresh":
			c.Refresh = true
		case "ttl":
			c.HasTTL, c.TTL = true, int64(number(value))
			c.Expiration = time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() + c.TTL*int64(time.Second)
		case "prevValue":
			c.PrevValue = value
		case "prevIndex":
			c.PrevIndex = number(value)
		case "floor":
			c.Floor = number(value)
		case "origin":
			f := strings.Split(value, "/")
			c.Origin, c.Boot, c.Seq, c.Settled = number(f[0]), number(f[1]), number(f[2]), number(f[3])
		default:
			c.Value = arg
		}
	}
	return c
}

func (s *script) result(r store.Result) {
	if r.Repeat {
		s.printf("repeat\n")
	}
	switch {
	case r.Err != nil:
		s.refused(r.Err)
	case r.Event != nil:
		writeEvent(s.b, r.Event)
	}
	for _, e := range r.Expired {
		writeEvent(s.b, e)
	}
}

func (s *script) refused(e *store.Error) {
	s.printf("error %d %s", e.Code, e.Message())
	if e.Cause != "" {
		s.printf(": %s", e.Cause)
	}
	s.printf(" (index %d)\n", e.Index)
}

func (s *script) get(args []string) {
	recursive, at := false, uint64(0)
	for _, arg := range args[1:] {
		if text, ok := strings.CutPrefix(arg, "at="); ok {
			at = s.number(text)
		}
		recursive = recursive || arg == "recursive"
	}
	var e *store.Event
	var refused *store.Error
	if at > 0 {
		e, refused = s.r.GetAt(store.ParseKey(args[0]), recursive, at)
	} else {
		e, _, refused = s.r.Get(store.ParseKey(args[0]), recursive)
	}
	if refused != nil {
		s.refused(refused)
		return
	}
	writeNode(s.b, e.Node)
	s.printf("\n")
	var tree strings.Builder
	writeTree(&tree, e.Node)
	for line := range strings.Lines(tree.String()) {
		s.printf("  %s", line)
	}
}

func (s *script) events(args []string) {
	from, to, max := s.number(args[0]), s.r.Frontier(), 1000
	if len(args) > 1 {
		to = s.number(args[1])
	}
	if len(args) > 2 {
		max = int(s.number(args[2]))
	}
	events, err := s.r.Events(from, to, max)
	var refused *store.Error
	if errors.As(err, &refused) {
		s.refused(refused)
		return
	}
	s.must(err)
	for _, e := range events {
		writeEvent(s.b, e)
	}
}

func (s *script) removed(index uint64, keys []string) {
	events, err := s.r.Events(index, index, 1)
	s.must(err)
	if len(events) == 0 {
		s.printf("no such event\n")
		return
	}
	for _, k := range keys {
		s.printf("%s %v\n", k, events[0].Removed(store.ParseKey(k)))
	}
}

// writeEvent writes an event: its index and action, the node, and below it the
// previous one.
func writeEvent(b *strings.Builder, e *store.Event) {
	fmt.Fprintf(b, "%d %v ", e.Index, e.Action)
	writeNode(b, e.Node)
	if e.Refresh {
		b.WriteString(" (refresh)")
	}
	b.WriteByte('\n')
	if e.Prev != nil {
		b.WriteString("  was ")
		writeNode(b, e.Prev)
		b.WriteByte('\n')
	}
}

// writeNode writes a node: its key, its value or dir, modifiedIndex and
// createdIndex, and what is left of its TTL.
func writeNode(b *strings.Builder, n *store.Node) {
	b.WriteString(n.Key.String())
	if n.Dir {
		b.WriteString(" dir")
	}
	if !n.Dir || n.Value != "" {
		if len(n.Value) > 100 {
			fmt.Fprintf(b, " %d bytes", len(n.Value))
		} else {
			fmt.Fprintf(b, " %q", n.Value)
		}
	}
	fmt.Fprintf(b, " modified %d created %d", n.ModifiedIndex, n.CreatedIndex)
	if n.HasTTL {
		fmt.Fprintf(b, " ttl %d until %s", n.TTL, time.Unix(0, n.Expiration).UTC().Format("15:04:05"))
	}
}
