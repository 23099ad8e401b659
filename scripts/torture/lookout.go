package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/check"
)

// lookout keeps asking every member for the list of members and notes what changes in it.
type lookout struct {
	t    *trial
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	starts map[int]int    // of a member's process, by its number
	last   map[string]int // view, by process
	views  []check.View
	asked  int
}

// startLookout starts one, which looks until the trial closes or its end is called.
func (t *trial) startLookout(ctx context.Context) *lookout {
	ctx, stop := context.WithCancel(ctx)
	o := &lookout{t: t, stop: stop, starts: map[int]int{}, last: map[string]int{}}
	o.done.Go(func() {
		for ctx.Err() == nil {
			for i := range t.roster.len() {
				o.ask(ctx, i)
			}
			_ = pause(ctx, 50*time.Millisecond)
		}
	})
	t.cleanups = append(t.cleanups, o.end)
	return o
}

func (o *lookout) end() {
	o.stop()
	o.done.Wait()
}

// restarted says that what answers for a member from now on is another process.
func (o *lookout) restarted(member int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.starts[member]++
}

func (o *lookout) process(member int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("m%d#%d", member, o.starts[member])
}

// glance is the patience of one question: the others wait meanwhile.
const glance = 300 * time.Millisecond

func (o *lookout) ask(ctx context.Context, member int) {
	url := o.t.roster.url(member)
	if url == "" {
		return
	}
	process := o.process(member)
	list, err := api.Admin{Base: url, Timeout: glance}.Members(ctx)
	if err != nil || o.process(member) != process {
		return
	}
	var ids []string
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	o.note(check.View{Process: process, At: o.t.rec.Clock.Now(), IDs: ids})
}

// note keeps a view unless the process showed the same before.
func (o *lookout) note(v check.View) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if i, ok := o.last[v.Process]; ok && slices.Equal(o.views[i].IDs, v.IDs) {
		return
	}
	o.last[v.Process] = len(o.views)
	o.views = append(o.views, v)
}

// seen is every list that was shown, and how often one was asked for.
func (o *lookout) seen() ([]check.View, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.views), o.asked
}
