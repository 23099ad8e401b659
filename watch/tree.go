package watch

import (
	"strings"

	"github.com/witan-kv/witan/store"
)

// maxDepth bounds how many places one watched key can cost. A key with more
// components is kept at its ancestor of this depth; Request.wants, which every
// candidate has to pass, tells it apart from its neighbours there.
const maxDepth = 32

// tree holds the live watchers by their keys, component by component. To tell
// an event to its watchers costs one step per component of its key, however
// many watchers there are elsewhere; for a removed directory the watchers
// below it are found the same way.
type tree struct {
	root place
}

// place is one key somebody watches, or a directory above one.
//
// Invariant: but for the root, a place has watchers or places below it.
type place struct {
	parent *place
	name   string // last component of its key
	below  map[string]*place
	exact  []*Watcher // not recursive
	deep   []*Watcher // recursive
}

// add puts w, which must not be in the tree, at the place of its key.
func (t *tree) add(w *Watcher) {
	p := &t.root
	rest := components(w.req.Key)
	for depth := 0; rest != "" && depth < maxDepth; depth++ {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		p = p.child(name)
	}
	list := p.list(w)
	w.place, w.slot = p, len(*list)
	*list = append(*list, w)
}

// remove takes w, which must be in the tree, out of it.
func (t *tree) remove(w *Watcher) {
	p := w.place
	list := p.list(w)
	last := len(*list) - 1
	(*list)[last].slot = w.slot
	(*list)[w.slot] = (*list)[last]
	(*list)[last] = nil
	*list = (*list)[:last]
	w.place = nil
	p.prune()
}

// candidates calls f once for each watcher that e can concern: the recursive
// ones above its key, all at its key, and all below it if e removes something.
// f may remove the watcher it is given from the tree, and no other.
func (t *tree) candidates(e *store.Event, f func(*Watcher)) {
	p := &t.root
	rest := components(e.Node.Key)
	for depth := 0; rest != "" && depth < maxDepth; depth++ {
		each(&p.deep, f)
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if p = p.below[name]; p == nil {
			return
		}
	}
	each(&p.exact, f)
	each(&p.deep, f)
	if e.Action.Removes() {
		p.eachBelow(f)
	}
}

func (p *place) eachBelow(f func(*Watcher)) {
	for _, c := range p.below {
		each(&c.exact, f)
		each(&c.deep, f)
		c.eachBelow(f)
	}
}

// each goes backwards: when f removes a watcher, the one that takes its slot
// has had its turn.
func each(list *[]*Watcher, f func(*Watcher)) {
	for i := len(*list) - 1; i >= 0; i-- {
		f((*list)[i])
	}
}

// list returns the list of p that w belongs to.
func (p *place) list(w *Watcher) *[]*Watcher {
	if w.req.Recursive {
		return &p.deep
	}
	return &p.exact
}

// child returns the place called name in p, made if need be.
func (p *place) child(name string) *place {
	c := p.below[name]
	if c == nil {
		c = &place{parent: p, name: name}
		if p.below == nil {
			p.below = make(map[string]*place, 1)
		}
		p.below[name] = c
	}
	return c
}

// prune takes p, and what is above it, out of the tree as far as it is empty.
func (p *place) prune() {
	for p.parent != nil && len(p.exact) == 0 && len(p.deep) == 0 && len(p.below) == 0 {
		delete(p.parent.below, p.name)
		p = p.parent
	}
	if len(p.below) == 0 {
		p.below = nil // maps do not shrink by themselves
	}
}

// components returns the key without its leading slash, "" for the root.
func components(k store.Key) string { return k.String()[1:] }
