package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	spans "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// When Badger compacts and cannot create one of the new tables, because an fsync of it fails
// say, it goes on without: its goroutine reports an error that it took down
// before there was any (levels.go: subcompact, 4.9.6). The keys of that table are gone, and
// lookups find older versions of them or nothing.
//
// What gives it away is the file: a table that no compaction and no flush is at
// work on, and that the manifest has never named. It is looked for whenever a
// compaction ends, of which Badger tells whoever traces it and nobody else.
//
// Found by storm 3×4, seed 9009: a member answered from such a store.

// compactions counts those of all databases of this process.
type compactions struct {
	mu      sync.Mutex
	running int
	begun   uint64
	ended   map[chan struct{}]struct{} // told of each end
}

// compacting is the one that Badger tells, which has one for a process, too.
//
//nolint:gochecknoglobals // see above
var compacting = sync.OnceValue(func() *compactions {
	c := &compactions{ended: map[chan struct{}]struct{}{}}
	otel.SetTracerProvider(compactionTracer{c: c})
	return c
})

// watch returns a channel that is ready when a compaction has ended since it was read.
func (c *compactions) watch() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := make(chan struct{}, 1)
	c.ended[ended] = struct{}{}
	return ended
}

func (c *compactions) forget(ended chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ended, ended)
}

func (c *compactions) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
	c.begun++
}

func (c *compactions) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	for ended := range c.ended {
		signal(ended)
	}
}

// now returns how many have begun so far, and whether none is running.
func (c *compactions) now() (begun uint64, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun, c.running == 0
}

// compactionTracer hears of compactions.
type compactionTracer struct {
	noop.TracerProvider
	c *compactions
}

func (t compactionTracer) Tracer(string, ...spans.TracerOption) spans.Tracer {
	return compactionSpans{c: t.c}
}

type compactionSpans struct {
	noop.Tracer
	c *compactions
}

func (t compactionSpans) Start(ctx context.Context, name string, _ ...spans.SpanStartOption) (context.Context, spans.Span) {
	if name != "Badger.Compaction" {
		return ctx, noop.Span{}
	}
	t.c.begin()
	return ctx, &compactionSpan{c: t.c}
}

type compactionSpan struct {
	noop.Span
	c    *compactions
	once sync.Once
}

func (s *compactionSpan) End(...spans.SpanEndOption) { s.once.Do(s.c.end) }

// lostTable returns ErrDamaged if a table was lost. settled is false if that cannot be
// told, because tables are being made or removed.
func (d *database) lostTable(c *compactions) (settled bool, err error) {
	begun, idle := c.now()
	if !idle || !d.flushed() {
		return false, nil
	}
	files, err := filepath.Glob(filepath.Join(d.dir, "*.sst"))
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	named, err := d.namedTables()
	if err != nil {
		return false, err
	}
	if again, idle := c.now(); !idle || again != begun || !d.flushed() {
		return false, nil
	}
	for _, path := range files {
		number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".sst"), 10, 64)
		if _, ok := named[number]; err == nil && !ok {
			return true, fmt.Errorf("store: Badger has lost table %d, which it could not create: %w", number, ErrDamaged)
		}
	}
	return true, nil
}

// flushed reports whether there is no memtable but the one that is written to.
// One more stays until the table that is made of it is in the manifest.
func (d *database) flushed() bool {
	files, err := filepath.Glob(filepath.Join(d.dir, "*.mem"))
	return err == nil && len(files) <= 1
}

// namedTables returns the numbers of all tables the manifest has ever named. Those
// that are gone may still have readers, and so files; when the manifest is written anew
// it names them no more.
func (d *database) namedTables() (map[uint64]struct{}, error) {
	text, err := os.ReadFile(filepath.Join(d.dir, "MANIFEST"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if d.named == nil {
		d.named = map[uint64]struct{}{}
	}
	manifestChanges(text, func(number uint64, _ bool) { d.named[number] = struct{}{} })
	return d.named, nil
}
