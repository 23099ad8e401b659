package store_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/witan-kv/witan/store"
)

// model is the tree as a plain map, with the rules of contract §1 written down
// as simply as possible: no versions, no disk, every walk from the root. It is
// what the store is compared with.
type model struct {
	group, groups, frontier uint64
	clock                   int64
	nodes                   map[string]modelNode // by path; the root is not in it
	trees                   map[uint64]map[string]modelNode
	events                  []*store.Event
	gone                    map[uint64][]string // paths that a removal took away, by index
	done                    map[string]*store.Event
}

type modelNode struct {
	dir                  bool
	value                string
	created, modified    uint64
	ttl                  bool
	deadline, expiration int64
}

func newModel(group, groups int, first uint64) *model {
	m := &model{
		group: uint64(group), groups: uint64(groups), frontier: first,
		nodes: map[string]modelNode{}, trees: map[uint64]map[string]modelNode{},
		gone: map[uint64][]string{}, done: map[string]*store.Event{},
	}
	m.remember()
	return m
}

// remember keeps the tree as it is for reads at old indexes.
func (m *model) remember() {
	tree := make(map[string]modelNode, len(m.nodes))
	for path, n := range m.nodes {
		tree[path] = n
	}
	m.trees[m.frontier] = tree
}

// at returns the tree right after index.
func (m *model) at(index uint64) map[string]modelNode {
	for ; ; index-- {
		if tree, ok := m.trees[index]; ok {
			return tree
		}
	}
}

func (m *model) next() uint64 {
	n := m.frontier + 1
	for n%m.groups != m.group {
		n++
	}
	return n
}

func (m *model) refuse(code store.Code, cause string) store.Result {
	return store.Result{Err: &store.Error{Code: code, Cause: cause, Index: m.frontier}}
}

// walk follows path from the root and says what stands in the way.
func walk(nodes map[string]modelNode, path string) (modelNode, store.Code, string) {
	var n modelNode
	at := ""
	n.dir = true
	for _, name := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if !n.dir {
			return n, store.CodeNotDir, at
		}
		at += "/" + name
		var ok bool
		if n, ok = nodes[at]; !ok {
			return n, store.CodeKeyNotFound, at
		}
	}
	return n, 0, ""
}

// apply does what the store should do with c.
func (m *model) apply(c store.Command) store.Result {
	m.frontier = max(m.frontier, c.Floor)
	id := ""
	if c.Origin != 0 {
		id = fmt.Sprint(c.Origin, "/", c.Boot, "/", c.Seq)
		if e, ok := m.done[id]; ok {
			return store.Result{Repeat: true, Event: e, Index: m.frontier}
		}
	}
	r := m.dispatch(c)
	if r.Event != nil {
		m.frontier = r.Event.Index
		m.events = append(m.events, r.Event)
	}
	m.done[id] = r.Event
	delete(m.done, "")
	m.remember()
	r.Index = m.frontier
	return r
}

func (m *model) dispatch(c store.Command) store.Result {
	path := c.Key.String()
	switch c.Op {
	case store.OpTick:
		return store.Result{}
	case store.OpAdvance:
		return m.advance(c)
	case store.OpCreateInOrder:
		path = strings.TrimSuffix(path, "/") + fmt.Sprintf("/%020d", m.next())
	}
	if path == "/" {
		if c.Op == store.OpCompareAndDelete {
			return m.refuse(store.CodeNotFile, "")
		}
		return m.refuse(store.CodeRootReadOnly, "/")
	}
	old, code, cause := walk(m.nodes, path)
	if code == store.CodeNotDir {
		return m.refuse(code, cause)
	}
	found := code == 0
	switch c.Op {
	case store.OpSet:
		if !found && c.Refresh {
			return m.refuse(code, cause)
		}
		if found && old.dir {
			return m.refuse(store.CodeNotFile, path)
		}
		return m.write(store.ActionSet, c, path, nil)
	case store.OpCreate, store.OpCreateInOrder:
		if found {
			return m.refuse(store.CodeNodeExist, path)
		}
		c.Refresh = false
		return m.write(store.ActionCreate, c, path, nil)
	}
	if !found {
		return m.refuse(code, cause)
	}
	return m.changeExisting(c, path, old)
}

func (m *model) changeExisting(c store.Command, path string, old modelNode) store.Result {
	switch c.Op {
	case store.OpUpdate:
		if old.dir && c.Value != "" {
			return m.refuse(store.CodeNotFile, path)
		}
		return m.write(store.ActionUpdate, c, path, &old)
	case store.OpDelete:
		if old.dir && !c.Recursive {
			if !c.Dir {
				return m.refuse(store.CodeNotFile, path)
			}
			if len(m.below(path)) > 0 {
				return m.refuse(store.CodeDirNotEmpty, path)
			}
		}
		return store.Result{Event: m.remove(store.ActionDelete, path, old)}
	}
	if old.dir {
		return m.refuse(store.CodeNotFile, path)
	}
	var causes []string
	if c.PrevValue != "" && c.PrevValue != old.value {
		causes = append(causes, fmt.Sprintf("[%v != %v]", c.PrevValue, old.value))
	}
	if c.PrevIndex != 0 && c.PrevIndex != old.modified {
		causes = append(causes, fmt.Sprintf("[%v != %v]", c.PrevIndex, old.modified))
	}
	if len(causes) > 0 {
		return m.refuse(store.CodeCompareFailed, strings.Join(causes, " "))
	}
	if c.Op == store.OpCompareAndDelete {
		return store.Result{Event: m.remove(store.ActionCompareAndDelete, path, old)}
	}
	return m.write(store.ActionCompareAndSwap, c, path, &old)
}

// write puts a node at path: a new one, or keep with other values.
func (m *model) write(action store.Action, c store.Command, path string, keep *modelNode) store.Result {
	index := m.next()
	old, existed := m.nodes[path]
	n := modelNode{dir: c.Dir, value: c.Value, created: index, modified: index}
	if keep != nil {
		n.dir, n.created = keep.dir, keep.created
	}
	if c.Refresh {
		n.value = old.value
	}
	if n.dir {
		n.value = ""
	}
	if c.HasTTL {
		n.ttl, n.expiration = true, c.Expiration
		n.deadline = m.clock + c.TTL*1e9 + int64(store.Tick)
	}
	shown := n
	if keep != nil && n.dir {
		n.modified = keep.modified
	}
	for slash := strings.LastIndexByte(path, '/'); slash > 0; slash = strings.LastIndexByte(path[:slash], '/') {
		if _, ok := m.nodes[path[:slash]]; !ok {
			m.nodes[path[:slash]] = modelNode{dir: true, created: index, modified: index}
		}
	}
	m.nodes[path] = n
	e := &store.Event{Action: action, Node: m.show(path, shown), Index: index, Refresh: c.Refresh}
	if existed {
		e.Prev = m.show(path, old)
	}
	return store.Result{Event: e}
}

func (m *model) below(path string) []string {
	var paths []string
	for p := range m.nodes {
		if strings.HasPrefix(p, path+"/") {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func (m *model) remove(action store.Action, path string, old modelNode) *store.Event {
	index := m.next()
	m.gone[index] = m.below(path)
	for _, p := range m.gone[index] {
		delete(m.nodes, p)
	}
	delete(m.nodes, path)
	return &store.Event{
		Action: action,
		Node:   &store.Node{Key: store.ParseKey(path), Dir: old.dir, CreatedIndex: old.created, ModifiedIndex: index},
		Prev:   m.show(path, old),
		Index:  index,
	}
}

func (m *model) advance(c store.Command) store.Result {
	if c.Clock != m.clock {
		return store.Result{}
	}
	m.clock += min(c.Step, int64(store.Tick))
	var r store.Result
	for {
		first := ""
		for path, n := range m.nodes {
			if !n.ttl || n.deadline > m.clock {
				continue
			}
			if first == "" || n.deadline < m.nodes[first].deadline || n.deadline == m.nodes[first].deadline && path < first {
				first = path
			}
		}
		if first == "" {
			return r
		}
		e := m.remove(store.ActionExpire, first, m.nodes[first])
		m.frontier = e.Index
		m.remember()
		m.events = append(m.events, e)
		r.Expired = append(r.Expired, e)
	}
}

func (m *model) timed() int {
	count := 0
	for _, n := range m.nodes {
		if n.ttl {
			count++
		}
	}
	return count
}

func (m *model) show(path string, n modelNode) *store.Node {
	shown := &store.Node{
		Key: store.ParseKey(path), Value: n.value, Dir: n.dir, CreatedIndex: n.created, ModifiedIndex: n.modified,
	}
	if n.ttl {
		left := max(n.deadline-int64(store.Tick)-m.clock, 0)
		shown.HasTTL, shown.Expiration, shown.TTL = true, n.expiration, (left+1e9-1)/1e9
	}
	return shown
}

// get returns what a read of path at index gives.
func (m *model) get(path string, recursive bool, index uint64) (*store.Node, *store.Error) {
	tree := m.at(index)
	n := &store.Node{Dir: true}
	if path != "/" {
		found, code, cause := walk(tree, path)
		if code != 0 {
			return nil, &store.Error{Code: code, Cause: cause, Index: index}
		}
		n = m.show(path, found)
	}
	m.fill(tree, n, recursive)
	return n, nil
}

func (m *model) fill(tree map[string]modelNode, dir *store.Node, recursive bool) {
	for path, n := range tree {
		k := store.ParseKey(path)
		if k.Parent() != dir.Key || k.Hidden() || !dir.Dir {
			continue
		}
		child := m.show(path, n)
		if recursive {
			m.fill(tree, child, true)
		}
		dir.Nodes = append(dir.Nodes, child)
	}
	slices.SortFunc(dir.Nodes, func(a, b *store.Node) int { return strings.Compare(a.Key.String(), b.Key.String()) })
}
