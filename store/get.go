package store

import (
	"errors"
	"fmt"
)

// Position says where in the group's history an answer stands.
type Position struct {
	Index     uint64 // the frontier
	RaftIndex uint64 // log entries up to here were applied
}

// Get returns the node at k as an event with ActionGet: a file, or a directory
// with its children, hidden ones left out, and with recursive all below them.
// Children come in order of their keys. The position is that of the tree that
// was read. A node that is not there is a *Error (contract §1.7).
func (s *Store) Get(k Key, recursive bool) (*Event, Position, *Error) {
	v, err := s.kv.latest()
	if err != nil {
		return nil, Position{}, s.unreadable(err)
	}
	defer v.release()
	e, refused := s.read(&v, k, recursive, v.head.frontier)
	s.counts.read(refused)
	return e, Position{Index: v.head.frontier, RaftIndex: v.head.raftIndex}, refused
}

// GetAt is Get of the tree as it was right after the given index; an index
// above the frontier is the frontier. TTLs are those of now. The error has
// code 401 if that tree is no longer kept.
func (s *Store) GetAt(k Key, recursive bool, index uint64) (*Event, *Error) {
	v, err := s.kv.since(index)
	if err != nil {
		return nil, s.unreadable(err)
	}
	defer v.release()
	return s.read(&v, k, recursive, min(index, v.head.frontier))
}

// unreadable turns a broken read into an answer.
func (s *Store) unreadable(err error) *Error {
	h := s.kv.current()
	if errors.Is(err, errGone) {
		return &Error{Code: CodeEventIndexCleared, Cause: err.Error(), Index: h.frontier}
	}
	return &Error{Code: CodeRaftInternal, Cause: s.suspect(err).Error(), Index: h.frontier}
}

func (s *Store) read(v *view, k Key, recursive bool, at uint64) (*Event, *Error) {
	n := &Node{Dir: true}
	if !k.IsRoot() {
		r, found, err := v.record(k, at)
		if err != nil {
			return nil, s.unreadable(err)
		}
		if !found {
			return nil, v.missing(k, at)
		}
		n = r.node(k, v.head.clock)
	}
	if n.Dir {
		if err := v.list(n, recursive, at); err != nil {
			return nil, s.unreadable(err)
		}
	}
	return &Event{Action: ActionGet, Node: n, Index: at}, nil
}

// usualPlace is the length of a place that a look-up makes without allocating.
const usualPlace = 128

// record reads the node at k as it was at the given index. k is not the root.
func (v *view) record(k Key, at uint64) (r record, found bool, err error) {
	var buf [usualPlace]byte
	value, index, found, err := v.get(appendNodeKey(buf[:0], k), at)
	if err != nil || !found {
		return record{}, false, err
	}
	r, err = decodeRecord(value, index)
	if err != nil {
		return record{}, false, fmt.Errorf("store: read node: %w", err)
	}
	return r, true, nil
}

// missing says why there was no node at k. See step.missing.
func (v *view) missing(k Key, at uint64) *Error {
	for parent := k.Parent(); !parent.IsRoot(); parent = parent.Parent() {
		r, found, err := v.record(parent, at)
		if err != nil {
			return &Error{Code: CodeRaftInternal, Cause: err.Error(), Index: at}
		}
		if found {
			if !r.dir {
				return &Error{Code: CodeNotDir, Cause: parent.String(), Index: at}
			}
			break
		}
		k = parent
	}
	return &Error{Code: CodeKeyNotFound, Cause: k.String(), Index: at}
}

// list fills in the children of n, and with recursive all below them.
func (v *view) list(n *Node, recursive bool, at uint64) error {
	for dirs := []*Node{n}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		err := v.children(dir.Key, at, func(_ string, k Key, r *record) bool {
			if k.Hidden() {
				return true
			}
			child := r.node(k, v.head.clock)
			dir.Nodes = append(dir.Nodes, child)
			if recursive && child.Dir {
				dirs = append(dirs, child)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// children calls each for the nodes in dir at index at, in order of their
// names, until it returns false.
func (v *view) children(dir Key, at uint64, each func(place string, k Key, r *record) bool) error {
	prefix := childrenPrefix(dir)
	var failed error
	err := v.scan(prefix, after(prefix), at, func(place string, p version) bool {
		r, err := decodeRecord(p.value, p.index)
		if err != nil {
			failed = fmt.Errorf("store: read node: %w", err)
			return false
		}
		return each(place, dir.Child(place[len(prefix):]), &r)
	})
	if err == nil {
		err = failed
	}
	return err
}
