package check

import (
	"fmt"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// Sequence is what one watcher of the whole tree was told, over all its reconnections.
type Sequence struct {
	Watcher string
	Events  []history.Event
	Gaps    []string // where the watcher could not resume (401): what follows proves nothing
	From    uint64   // it asked for everything from here on
	Until   uint64   // it stopped asking here; 0 is never
}

// Sequences says that every watcher was told the same, each event once and in index order, up to the given index (MR-3, MR-5).
func Sequences(all []Sequence, upto uint64) []Violation {
	var out []Violation
	for _, s := range all {
		out = append(out, s.ordered()...)
	}
	for _, s := range all[min(1, len(all)):] {
		out = append(out, s.differs(&all[0], upto)...)
	}
	return out
}

func (s *Sequence) ordered() []Violation {
	var out []Violation
	for i := 1; i < len(s.Events); i++ {
		before, e := &s.Events[i-1], &s.Events[i]
		if e.Index <= before.Index {
			out = append(out, violation("watch", nil, "%s was told of %s after %s", s.Watcher, e, before))
		}
	}
	return out
}

// differs tells of the first difference only: what follows it is the same difference shifted.
func (s *Sequence) differs(o *Sequence, upto uint64) []Violation {
	from := max(s.From, o.From)
	for _, until := range []uint64{s.Until, o.Until} {
		if until > 0 {
			upto = min(upto, until)
		}
	}
	a, b := s.cut(from, upto), o.cut(from, upto)
	for i := range max(len(a), len(b)) {
		if i < len(a) && i < len(b) && a[i].Same(&b[i]) {
			continue
		}
		return []Violation{violation("watch", nil, "%s and %s differ at their event %d: %s, %s", s.Watcher, o.Watcher, i, at(a, i), at(b, i))}
	}
	return nil
}

func (s *Sequence) cut(from, upto uint64) []history.Event {
	begin := 0
	for begin < len(s.Events) && s.Events[begin].Index < from {
		begin++
	}
	end := begin
	for end < len(s.Events) && s.Events[end].Index <= upto {
		end++
	}
	return s.Events[begin:end]
}

func at(events []history.Event, i int) string {
	if i >= len(events) {
		return "nothing"
	}
	return fmt.Sprint(&events[i])
}
