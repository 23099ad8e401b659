package main

import (
	"fmt"
	"slices"
	"sort"
)

// indexMap follows the two servers' indexes: which of etcd's (left) is which of
// ours (right).
//
// With one key group and no restart both count the same things, so the
// difference between the two is one constant, learned once from the idle
// servers: 0 for fresh members, since both start at 2M+1 (contract §1.13).
//
// With several groups our indexes have holes, and the rules are weaker:
//
//   - Indexes of events (modifiedIndex, createdIndex, names of in-order keys)
//     map one to one and in order: a pair seen once holds for ever, and a
//     higher index on the left is a higher one on the right. One client that
//     waits for each answer must see that even over several groups, because
//     each proposal's floor is above all its member has seen (design §3).
//   - X-Etcd-Index and the index of an error are on our side the frontier of
//     the group of the key's top-level directory (for `/`, the closed index).
//     That may be above the last event, so it maps to nothing; but it is not
//     below any event seen in that directory, does not go back, and every
//     event that comes later in the directory is above it. That is what makes
//     "GET, then watch from X-Etcd-Index + 1" miss and repeat nothing.
type indexMap struct {
	constant bool
	offset   int64 // right minus left, where constant

	pairs    []indexPair       // ascending on both sides
	highest  map[string]uint64 // right: the last event seen, by top-level directory
	frontier map[string]uint64 // right: the last frontier seen, by top-level directory
}

type indexPair struct{ left, right uint64 }

func newIndexMap(constant bool, offset int64) *indexMap {
	return &indexMap{
		constant: constant, offset: offset,
		highest: make(map[string]uint64), frontier: make(map[string]uint64),
	}
}

// plain checks the pairs that need no map: zeros, and all where the indexes
// differ by a constant. done says that the pair was one of them.
func (m *indexMap) plain(left, right uint64) (done bool, err error) {
	switch {
	case left == 0 && right == 0:
		return true, nil
	case left == 0 || right == 0:
		return true, fmt.Errorf("index %d against %d: only one of them is zero", left, right)
	case m.constant:
		return true, m.shifted(left, right)
	}
	return false, nil
}

// event checks that left and right may be the index of one event in the
// top-level directory top, and remembers the pair.
func (m *indexMap) event(left, right uint64, top string) error {
	if done, err := m.plain(left, right); done {
		return err
	}
	i := sort.Search(len(m.pairs), func(i int) bool { return m.pairs[i].left >= left })
	if i < len(m.pairs) && m.pairs[i].left == left {
		if m.pairs[i].right != right {
			return fmt.Errorf("index %d was %d before and is %d now", left, m.pairs[i].right, right)
		}
		return nil
	}
	if i > 0 && m.pairs[i-1].right >= right {
		return fmt.Errorf("index %d maps to %d, but %d below it to %d", left, right, m.pairs[i-1].left, m.pairs[i-1].right)
	}
	if i < len(m.pairs) && m.pairs[i].right <= right {
		return fmt.Errorf("index %d maps to %d, but %d above it to %d", left, right, m.pairs[i].left, m.pairs[i].right)
	}
	if given := max(m.frontier[top], m.frontier[""]); i == len(m.pairs) && right <= given {
		return fmt.Errorf("new event at %d under /%s, though X-Etcd-Index %d was given out before", right, top, given)
	}
	m.pairs = slices.Insert(m.pairs, i, indexPair{left, right})
	m.highest[top] = max(m.highest[top], right)
	m.highest[""] = max(m.highest[""], right)
	return nil
}

// position checks what X-Etcd-Index or the index of an error said for a
// request on the top-level directory top ("" for the root).
func (m *indexMap) position(left, right uint64, top string) error {
	if done, err := m.plain(left, right); done {
		return err
	}
	if right < m.highest[top] {
		return fmt.Errorf("index %d, though an event at %d was seen under /%s", right, m.highest[top], top)
	}
	if right < m.frontier[top] {
		return fmt.Errorf("index %d, though it was %d before for /%s", right, m.frontier[top], top)
	}
	m.frontier[top] = right
	return nil
}

// known reports whether left and right are the index of one event seen before.
func (m *indexMap) known(left, right uint64) bool {
	i := sort.Search(len(m.pairs), func(i int) bool { return m.pairs[i].left >= left })
	return i < len(m.pairs) && m.pairs[i] == indexPair{left, right}
}

func (m *indexMap) shifted(left, right uint64) error {
	if int64(right)-int64(left) != m.offset {
		return fmt.Errorf("index %d against %d: the difference was %d until now", left, right, m.offset)
	}
	return nil
}
