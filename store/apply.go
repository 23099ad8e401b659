package store

import (
	"fmt"
)

// Result is what applying a command gave.
type Result struct {
	Event   *Event   // what a client's command did, nil if it was refused
	Expired []*Event // what OpAdvance let expire, in index order
	Err     *Error   // the client's mistake, if it made one
	Index   uint64   // the group's frontier afterwards
	// Repeat says that the command had been done before and was not done
	// again. Event is what it did then, nil if it was refused or that is no
	// longer known. It is told to no watcher.
	Repeat bool

	// Failure says that the store is broken (Store.Failed): the command was
	// not applied, and the replica must stop.
	Failure error
}

// ApplyEntry does what the commands of the log entry raftIndex say, one after
// the other, appends what each of them gave to results, and returns once readers
// see it. It is durable some milliseconds later, all of the entry or nothing:
// see Flush, Applied. Log entries come in order, each once; those up to Applied
// must not be replayed after Open. One goroutine at a time calls it; readers go on.
//
// It waits while too much is pending to be written. An error says that the
// store is broken (Failed): the replica must stop.
func (s *Store) ApplyEntry(raftIndex uint64, commands []Command, results []Result) ([]Result, error) {
	if err := s.commit.room(); err != nil {
		return results, err
	}
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if last := s.kv.current().raftIndex; raftIndex <= last {
		return results, s.broken(fmt.Errorf("store: log entry %d comes after %d", raftIndex, last))
	}
	for i := range commands {
		st := s.begin(commands[i].Floor)
		st.head.raftIndex = raftIndex
		r := s.run(&st, &commands[i])
		if st.err != nil {
			return results, s.broken(s.suspect(st.err))
		}
		s.publish(&st)
		r.Index = st.head.frontier
		results = append(results, r)
	}
	return results, nil
}

// Apply is ApplyEntry for an entry of one command.
func (s *Store) Apply(raftIndex uint64, c *Command) Result {
	var room [1]Result
	results, err := s.ApplyEntry(raftIndex, []Command{*c}, room[:0])
	if err != nil {
		return Result{Failure: err}
	}
	return results[0]
}

// broken notes that the store cannot go on, and why.
func (s *Store) broken(err error) error {
	s.commit.fail(err)
	return err
}

// run finds out whether the command was done before and does it if not.
func (s *Store) run(st *step, c *Command) Result {
	if c.Origin == 0 {
		return s.dispatch(st, c)
	}
	if index, done := s.repeats.find(c); done {
		return Result{Repeat: true, Event: st.eventAt(index)}
	}
	r := s.dispatch(st, c)
	var index uint64
	if r.Event != nil {
		index = r.Event.Index
	}
	s.repeats.record(c, index)
	return r
}

// dispatch is the one switch over the operations.
func (s *Store) dispatch(st *step, c *Command) (r Result) {
	switch c.Op {
	case OpSet:
		r.Event, r.Err = st.set(c)
	case OpCreate:
		r.Event, r.Err = st.create(c, c.Key)
	case OpCreateInOrder:
		r.Event, r.Err = st.create(c, c.Key.Child(fmt.Sprintf("%020d", st.next())))
	case OpUpdate:
		r.Event, r.Err = st.update(c)
	case OpCompareAndSwap:
		r.Event, r.Err = st.compareAndSwap(c)
	case OpDelete:
		r.Event, r.Err = st.delete(c)
	case OpCompareAndDelete:
		r.Event, r.Err = st.compareAndDelete(c)
	case OpAdvance:
		r.Expired = st.advance(c)
	case OpTick:
	default:
		st.err = fmt.Errorf("store: operation %d is unknown", c.Op)
	}
	s.counts.applied(c.Op, &r)
	return r
}

// set writes a file or makes a directory, whatever file was there (contract §1.8, §1.14).
func (st *step) set(c *Command) (*Event, *Error) {
	if e := st.refuseKey(c.Key); e != nil {
		return nil, e
	}
	old, found := st.get(c.Key)
	value := c.Value
	if c.Refresh {
		if !found {
			return nil, st.missing(c.Key)
		}
		value = old.value
	}
	if found && old.dir {
		return nil, st.refuse(CodeNotFile, c.Key.String())
	}
	if !found {
		if e := st.makeParents(c.Key); e != nil {
			return nil, e
		}
	}
	return st.replace(ActionSet, c, c.Key, value, prior{old, found})
}

// create makes a node where none is (contract §1.10).
func (st *step) create(c *Command, k Key) (*Event, *Error) {
	if e := st.refuseKey(k); e != nil {
		return nil, e
	}
	if _, found := st.get(k); found {
		return nil, st.refuse(CodeNodeExist, k.String())
	}
	if e := st.makeParents(k); e != nil {
		return nil, e
	}
	fresh := *c
	fresh.Refresh = false // ignored where nothing can have been there (contract §1.14)
	return st.replace(ActionCreate, &fresh, k, c.Value, prior{})
}

// replace puts a new node at k.
func (st *step) replace(action Action, c *Command, k Key, value string, old prior) (*Event, *Error) {
	index := st.next()
	r := record{dir: c.Dir, created: index, modified: index, value: value}
	if r.dir {
		r.value = ""
	}
	r.setTTL(c, st.head.clock)
	return st.change(action, k, r, old, c.Refresh), nil
}

// update changes a node that is there (contract §1.9). The stored record of a
// directory keeps its modifiedIndex, as in etcd; only the event shows a new one.
func (st *step) update(c *Command) (*Event, *Error) {
	if e := st.refuseKey(c.Key); e != nil {
		return nil, e
	}
	old, found := st.get(c.Key)
	if !found {
		return nil, st.missing(c.Key)
	}
	if old.dir && c.Value != "" {
		return nil, st.refuse(CodeNotFile, c.Key.String())
	}
	r := old
	if !old.dir {
		r.modified = st.next()
		if !c.Refresh {
			r.value = c.Value
		}
	}
	r.setTTL(c, st.head.clock)
	return st.change(ActionUpdate, c.Key, r, prior{old, true}, c.Refresh), nil
}

// compareAndSwap changes a file that is as the client thinks (contract §1.11).
func (st *step) compareAndSwap(c *Command) (*Event, *Error) {
	if e := st.refuseKey(c.Key); e != nil {
		return nil, e
	}
	old, e := st.compare(c)
	if e != nil {
		return nil, e
	}
	r := old
	r.modified = st.next()
	if !c.Refresh {
		r.value = c.Value
	}
	r.setTTL(c, st.head.clock)
	return st.change(ActionCompareAndSwap, c.Key, r, prior{old, true}, c.Refresh), nil
}

// delete takes a node away, and with Recursive all below it (contract §1.12).
func (st *step) delete(c *Command) (*Event, *Error) {
	if e := st.refuseKey(c.Key); e != nil {
		return nil, e
	}
	old, found := st.get(c.Key)
	if !found {
		return nil, st.missing(c.Key)
	}
	if old.dir && !c.Recursive {
		if !c.Dir {
			return nil, st.refuse(CodeNotFile, c.Key.String())
		}
		if st.hasChildren(c.Key) {
			return nil, st.refuse(CodeDirNotEmpty, c.Key.String())
		}
	}
	return st.remove(ActionDelete, c.Key, old), nil
}

// compareAndDelete takes a file away that is as the client thinks (contract §1.11).
func (st *step) compareAndDelete(c *Command) (*Event, *Error) {
	if c.Key.IsRoot() {
		return nil, st.refuse(CodeNotFile, "")
	}
	if e := st.refuseKey(c.Key); e != nil {
		return nil, e
	}
	old, e := st.compare(c)
	if e != nil {
		return nil, e
	}
	return st.remove(ActionCompareAndDelete, c.Key, old), nil
}

// compare returns the file at the command's key if it is as the command says.
func (st *step) compare(c *Command) (record, *Error) {
	old, found := st.get(c.Key)
	if !found {
		return old, st.missing(c.Key)
	}
	if old.dir {
		return old, st.refuse(CodeNotFile, c.Key.String())
	}
	var cause string
	if c.PrevValue != "" && c.PrevValue != old.value {
		cause = fmt.Sprintf("[%s != %s]", c.PrevValue, old.value)
	}
	if c.PrevIndex != 0 && c.PrevIndex != old.modified {
		if cause != "" {
			cause += " "
		}
		cause += fmt.Sprintf("[%d != %d]", c.PrevIndex, old.modified)
	}
	if cause != "" {
		return old, st.refuse(CodeCompareFailed, cause)
	}
	return old, nil
}
