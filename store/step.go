package store

import (
	"slices"
)

// step is the work of one Apply: what it reads, and what it will have changed
// when it is published. Nothing of it is seen before, and all of it at once.
type step struct {
	store  *Store
	view   view // the tree before the step
	head   head // as it will be
	staged []mutation

	// Places emptied by this step. Only the expiry of several nodes reads what
	// it has written, and all it writes is removals.
	dead map[string]struct{}

	err error // the first read that failed; nothing is published then
}

// prior is the node that a change finds.
type prior struct {
	record
	found bool
}

// begin starts the work of one command. The caller holds applyMu.
func (s *Store) begin(floor uint64) step {
	h := s.kv.current()
	st := step{store: s, view: view{kv: &s.kv, db: s.kv.db, head: h}, head: h, staged: s.staged[:0]}
	st.head.frontier = max(h.frontier, floor)
	return st
}

// publish makes the step visible to readers and due to be written.
func (s *Store) publish(st *step) {
	for i := range st.staged {
		st.head.hash = s.digest.version(st.head.hash, &st.staged[i])
	}
	st.head.hash = s.digest.position(&st.head)
	s.commit.note(s.kv.publish(st.staged, st.head))
	clear(st.staged)
	s.staged = st.staged[:0]
}

// next returns the index that the next event gets: the lowest of this group's
// numbers above the frontier (design §3).
func (st *step) next() uint64 {
	groups, group := uint64(st.store.opt.Groups), uint64(st.store.opt.Group)
	n := st.head.frontier + 1
	return n + (group+groups-n%groups)%groups
}

// refuse returns the answer to a client's mistake.
func (st *step) refuse(code Code, cause string) *Error {
	return &Error{Code: code, Cause: cause, Index: st.head.frontier}
}

// refuseKey refuses keys that no node may have.
func (st *step) refuseKey(k Key) *Error {
	if k.IsRoot() {
		return st.refuse(CodeRootReadOnly, "/")
	}
	if len(k.path) > maxKeyBytes {
		return st.refuse(CodeInvalidField, longKeyCause)
	}
	return nil
}

const longKeyCause = "the key is longer than 32768 bytes"

// get returns the node at k, which is not the root.
func (st *step) get(k Key) (r record, found bool) {
	if st.dead != nil {
		if _, dead := st.dead[nodePlace(k)]; dead {
			return record{}, false
		}
	}
	r, found, err := st.view.record(k, st.view.head.frontier)
	st.fail(err)
	return r, found
}

func (st *step) fail(err error) {
	if st.err == nil {
		st.err = err
	}
}

// missing says why there is no node at k. Every node that exists has a
// complete ancestry of directories, so the nearest ancestor that exists tells
// which component is the first to be missing or to be no directory.
func (st *step) missing(k Key) *Error {
	for !k.IsRoot() {
		parent := k.Parent()
		if parent.IsRoot() {
			break
		}
		if r, found := st.get(parent); found {
			if !r.dir {
				return st.refuse(CodeNotDir, parent.String())
			}
			break
		}
		k = parent
	}
	return st.refuse(CodeKeyNotFound, k.String())
}

// makeParents makes the directories that k lacks, as part of the next event.
// They are permanent and get no event of their own (contract §1.8).
func (st *step) makeParents(k Key) *Error {
	var lacking []Key
	for parent := k.Parent(); !parent.IsRoot(); parent = parent.Parent() {
		r, found := st.get(parent)
		if found && !r.dir {
			return st.refuse(CodeNotDir, parent.String())
		}
		if found {
			break
		}
		lacking = append(lacking, parent)
	}
	index := st.next()
	for _, parent := range slices.Backward(lacking) {
		st.put(parent, record{dir: true, created: index, modified: index}, prior{}, index)
	}
	return nil
}

// change makes the event that turns old into r.
func (st *step) change(action Action, k Key, r record, old prior, refresh bool) *Event {
	index := st.next()
	st.put(k, r, old, index)
	e := &Event{Action: action, Node: r.node(k, st.head.clock), Index: index, Refresh: refresh}
	e.Node.ModifiedIndex = index
	if old.found {
		e.Prev = old.node(k, st.head.clock)
	}
	st.happened(e)
	return e
}

// put stages a node and its note in the expiry queue.
func (st *step) put(k Key, r record, old prior, index uint64) {
	st.stage(nodePlace(k), version{index: index, value: r.encode(index)})
	if old.hasTTL && r.hasTTL && old.deadline == r.deadline {
		return
	}
	if old.hasTTL {
		st.unqueue(k, &old.record, index)
	}
	if r.hasTTL {
		st.stage(queueKey(r.deadline, k), version{index: index, value: queued})
		st.head.timed++
	}
}

// queued is what is behind a place of the expiry queue; the place says it all.
const queued = "\x01"

func (st *step) unqueue(k Key, r *record, index uint64) {
	st.empty(queueKey(r.deadline, k), index)
	st.head.timed--
}

// remove makes the event that takes the node r away, with all below it.
func (st *step) remove(action Action, k Key, r record) *Event {
	index := st.next()
	st.take(k, &r, index)
	e := &Event{
		Action: action,
		Node:   removedNode(k, &r, index),
		Prev:   r.node(k, st.head.clock),
		Index:  index,
	}
	if r.dir {
		gone := st.takeBelow(k, index)
		e.removed = func(k Key) bool {
			_, found := slices.BinarySearch(gone, k.path)
			return found
		}
	}
	st.happened(e)
	return e
}

// takeBelow removes everything below the directory dir and returns the paths
// in order.
func (st *step) takeBelow(dir Key, index uint64) []string {
	var gone []string
	for dirs := []Key{dir}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		st.children(dir, func(k Key, r *record) bool {
			st.take(k, r, index)
			gone = append(gone, k.path)
			if r.dir {
				dirs = append(dirs, k)
			}
			return true
		})
	}
	slices.Sort(gone)
	return gone
}

func (st *step) take(k Key, r *record, index uint64) {
	st.empty(nodePlace(k), index)
	if r.hasTTL {
		st.unqueue(k, r, index)
	}
}

func (st *step) hasChildren(dir Key) (any bool) {
	st.children(dir, func(Key, *record) bool {
		any = true
		return false
	})
	return any
}

// children calls each for the nodes in dir, in order, until it returns false.
func (st *step) children(dir Key, each func(Key, *record) bool) {
	err := st.view.children(dir, st.view.head.frontier, func(place string, k Key, r *record) bool {
		if _, dead := st.dead[place]; dead {
			return true
		}
		return each(k, r)
	})
	st.fail(err)
}

func (st *step) stage(place string, v version) {
	st.staged = append(st.staged, mutation{place, v})
}

func (st *step) empty(place string, index uint64) {
	st.stage(place, version{index: index, gone: true})
	if st.dead != nil {
		st.dead[place] = struct{}{}
	}
}

// happened enters the event in the history and moves the frontier to it.
func (st *step) happened(e *Event) {
	t := trace{action: e.Action, refresh: e.Refresh, clock: st.head.clock, key: e.Node.Key}
	st.stage(historyKey(e.Index), version{index: e.Index, value: t.encode()})
	h := &st.head
	h.frontier, h.newest = e.Index, e.Index
	if h.count == 0 {
		h.oldest = e.Index
	}
	h.count++
	st.fail(st.store.trimHistory(&st.view, h, st.staged))
}

// eventAt returns the event with the given index if it is still known.
func (st *step) eventAt(index uint64) *Event {
	h := &st.view.head
	if index < h.oldest || index > h.newest {
		return nil
	}
	events, err := st.store.readEvents(&st.view, index, index, 1)
	st.fail(err)
	if err != nil || len(events) == 0 {
		return nil
	}
	return events[0]
}
