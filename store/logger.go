package store

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// badgerLogger hands Badger's messages to our log. What Badger thinks is
// information (every compaction, every replayed file) is detail to us.
type badgerLogger struct {
	log         zerolog.Logger
	failed      *failed
	compactions *compactions
}

func newBadgerLogger(dir string, opt *Options) badgerLogger {
	f := newFailed()
	return badgerLogger{log: opt.Logger, failed: f, compactions: newCompactions(dir, f, opt.makeRoom)}
}

// failed is the first failure of the disk that Badger keeps to itself.
type failed struct {
	err  atomic.Pointer[error]
	news chan struct{} // closed when there is one
}

func newFailed() *failed { return &failed{news: make(chan struct{})} }

// note notes a failure, or none. The first one stays.
func (f *failed) note(err error) {
	if err != nil && f.err.CompareAndSwap(nil, &err) {
		close(f.news)
	}
}

func (f *failed) reason() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// kept begin Badger's only words about what it does not report otherwise. After
// a failed fsync of the value log it goes on as if nothing was lost; memtables and compactions
// are tried again for ever, beside whatever the first try has left.
//
//nolint:gochecknoglobals // a table
var kept = []string{
	"Error while curlf sync", "error flushing memtable to disk", "While trying to flush memtable",
	"[Compactor: %d] LOG Compact FAILED", "writeRequests",
}

func (l badgerLogger) Errorf(format string, args ...any) {
	l.watch(format, args)
	l.write(l.log.Error(), format, args)
}

func (l badgerLogger) Warningf(format string, args ...any) {
	l.watch(format, args)
	l.write(l.log.Warn(), format, args)
	l.compactions.follow(format, args)
}

func (l badgerLogger) Infof(format string, args ...any) { l.write(l.log.Debug(), format, args) }

func (l badgerLogger) Debugf(format string, args ...any) {
	l.write(l.log.Trace(), format, args)
	l.compactions.follow(format, args)
}

func (l badgerLogger) write(e *zerolog.Event, format string, args []any) {
	e.Str("engine", "badger").Msgf(strings.TrimSpace(format), args...)
}

func (l badgerLogger) watch(format string, args []any) {
	for _, begin := range kept {
		if !strings.HasPrefix(format, begin) {
			continue
		}
		err := fmt.Errorf("store: %.300s", strings.TrimSpace(fmt.Sprintf(format, args...)))
		for _, a := range args {
			if cause, ok := a.(error); ok {
				err = fmt.Errorf("store: badger: %s: %w", begin, cause)
			}
		}
		l.failed.note(err)
	}
}

// failure returns what Badger has failed in without saying so to its caller.
func (d *database) failure() error { return d.heard.failed.reason() }
