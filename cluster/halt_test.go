package cluster

import (
	"errors"
	stdlog "log"
	"strings"
	"testing"

	"github.com/lni/dragonboat/v4/raftpb"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// failingLog fails as Pebble does.
type failingLog struct {
	savedLog
	fail func() error
}

func (l *failingLog) SaveRaftState([]raftpb.Update, uint64) error { return l.fail() }

// TestLogFailureHalts: whatever way the log fails, also where nobody waits for it, the member is told why.
func TestLogFailureHalts(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return unix.EIO },
		"panic": func() error { panic(error(unix.EIO)) },
	} {
		for _, deferred := range []bool{false, true} {
			l, _ := newDurableLog(0)
			l.ILogDB = &failingLog{fail: fail}
			var why error
			l.halt = func(err error) { why = err }
			if deferred {
				u := update(1, 1, 1)
				l.written[node(&u)] = update(1, 1, 0).State
				if err := l.SaveRaftState([]raftpb.Update{u}, 1); err != nil || why != nil {
					t.Fatalf("%s: a commit index was not put off: %v, %v", name, err, why)
				}
				l.writeDeferred()
			} else if err := l.SaveRaftState([]raftpb.Update{update(1, 1, 0, 1)}, 1); !errors.Is(err, unix.EIO) {
				t.Errorf("%s: returned %v", name, err)
			}
			if !errors.Is(why, unix.EIO) || !strings.Contains(why.Error(), "start the member again") {
				t.Errorf("%s, deferred %v: halted with %v", name, deferred, why)
			}
		}
	}
}

// TestPebbleIsHeard: what Pebble logs before it panics halts the member, if it is about the disk.
func TestPebbleIsHeard(t *testing.T) {
	var heard []string
	f := func(text string) { heard = append(heard, text) }
	before := panics.Swap(&f)
	defer panics.Store(before)
	useRaftLogger(zerolog.Nop())
	stdlog.Print("[JOB 3] flushed")
	stdlog.Print("MANIFEST sync failed: sync logdb-0/MANIFEST-000001: input/output error")
	if len(heard) != 1 || !strings.HasPrefix(heard[0], "MANIFEST sync failed") {
		t.Errorf("heard %q", heard)
	}
}

// TestMistakesPanic: a mistake in the program is not taken for an error of the disk.
func TestMistakesPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an index out of range was taken for an error of the disk")
		}
	}()
	l, _ := newDurableLog(0)
	l.ILogDB = &failingLog{fail: func() error { return []error{}[len(t.Name())] }}
	l.halt = func(error) {}
	_ = l.SaveRaftState([]raftpb.Update{update(1, 1, 0, 1)}, 1)
}

// TestDiskErrorAdvises: what is to be done depends on what is wrong.
func TestDiskErrorAdvises(t *testing.T) {
	for err, advice := range map[error]string{
		unix.EIO:    "look after the disk",
		unix.ENOSPC: "free some space",
		errors.New("save snapshot failed: open x: too many open files"): "raise the limit of open files",
	} {
		if got := diskError("raft", err); !errors.Is(got, err) || !strings.Contains(got.Error(), advice) {
			t.Errorf("%v: %v", err, got)
		}
	}
}
