package watch

import (
	"strings"
	"testing"

	"github.com/witan-kv/witan/store"
)

// deep is a key with more components than the tree is deep.
var deep = strings.Repeat("/d", maxDepth+3)

// matchCases are the rules of contract §2.2.
var matchCases = []struct {
	name      string
	key       string
	recursive bool
	event     *store.Event
	want      bool
}{
	{"same key", "/a", false, change(2, "/a"), true},
	{"same key, recursive", "/a", true, change(2, "/a"), true},
	{"other key", "/a", false, change(2, "/b"), false},
	{"longer name", "/foo", true, change(2, "/foobar"), false},
	{"parent", "/a/b", true, change(2, "/a"), false},
	{"child of a watcher that is not recursive", "/a", false, change(2, "/a/b"), false},
	{"child", "/a", true, change(2, "/a/b"), true},
	{"grandchild", "/a", true, change(2, "/a/b/c"), true},
	{"root, not recursive", "/", false, change(2, "/a"), false},
	{"root", "/", true, change(2, "/a/b"), true},

	{"hidden child", "/a", true, change(2, "/a/_b"), false},
	{"below a hidden child", "/a", true, change(2, "/a/_b/c"), false},
	{"hidden grandchild", "/a", true, change(2, "/a/b/_c"), false},
	{"underscore within a name", "/a", true, change(2, "/a/b_c"), true},
	{"hidden below the root", "/", true, change(2, "/_b/c"), false},
	{"hidden key itself", "/a/_b", false, change(2, "/a/_b"), true},
	{"hidden key itself, recursive", "/a/_b", true, change(2, "/a/_b"), true},
	{"below a hidden watched key", "/_x", true, change(2, "/_x/y"), true},
	{"hidden below a hidden watched key", "/_x", true, change(2, "/_x/_y"), false},

	{"refresh", "/a", false, refresh(2, "/a"), false},
	{"refresh below", "/a", true, refresh(2, "/a/b"), false},

	{"removed with its directory", "/a/b", false, removal(2, "/a", "/a/b"), true},
	{"removed with its directory, recursive", "/a/b", true, removal(2, "/a", "/a/b"), true},
	{"removed two levels down", "/a/b/c", false, removal(2, "/a", "/a/b", "/a/b/c"), true},
	{"removed, hidden", "/a/_b/c", true, removal(2, "/a", "/a/_b", "/a/_b/c"), true},
	{"not there when its directory was removed", "/a/x", false, removal(2, "/a", "/a/b"), false},
	{"removed directory itself", "/a", false, removal(2, "/a", "/a/b"), true},
	{"removed directory below", "/a", true, removal(2, "/a/b", "/a/b/c"), true},
	{"hidden removed directory below", "/a", true, removal(2, "/a/_b", "/a/_b/c"), false},
	{"longer name than a removed directory", "/foobar", false, removal(2, "/foo", "/foobar"), false},

	{"deep key", deep, false, change(2, deep), true},
	{"deep neighbour", deep, false, change(2, deep+"/x"), false},
	{"below a deep key", deep, true, change(2, deep+"/x"), true},
	{"hidden below a deep key", deep, true, change(2, deep+"/_x"), false},
	{"above a deep key", deep, true, change(2, deep[:len(deep)-2]), false},
	{"deep key from far above", "/d", true, change(2, deep), true},
	{"deep key removed from far above", deep, false, removal(2, "/d/d", deep), true},
	{"deep key removed from near", deep, false, removal(2, deep[:len(deep)-2], deep), true},
	{"deep key not there when removed from near", deep, false, removal(2, deep[:len(deep)-2]), false},
}

// TestMatching checks each rule wherever an event can come from. The event is
// followed by one on the watched key, so that silence needs no waiting.
func TestMatching(t *testing.T) {
	ways := map[string]func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher{
		"live": func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher {
			w := watch()
			s.happen(e)
			s.happen(next)
			return w
		},
		"one batch": func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher {
			w := watch(from(2))
			s.happen(e, next)
			return w
		},
		"tail": func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher {
			s.happen(e, next)
			return watch(from(1))
		},
		"source": func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher {
			s.past.add(e, next)
			s.Skip(3)
			return watch(from(1))
		},
		"skipped": func(s *stage, watch func(...func(*Request)) *Watcher, e, next *store.Event) *Watcher {
			w := watch()
			s.past.add(e, next)
			s.Skip(3)
			return w
		},
	}
	for _, c := range matchCases {
		for way, play := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				watch := func(s *stage, stream bool) *Watcher {
					return play(s, func(opts ...func(*Request)) *Watcher {
						opts = append(opts, func(r *Request) { r.Recursive, r.Stream = c.recursive, stream })
						return s.mustWatch(t, c.key, opts...)
					}, c.event, change(3, orChild(c.key)))
				}
				last := []uint64{3}
				if c.key == "/" && !c.recursive {
					last = nil
				}
				if c.want {
					expect(t, watch(newStage(1<<20), false), true, 2)
					expect(t, watch(newStage(1<<20), true), false, append([]uint64{2}, last...)...)
				} else {
					expect(t, watch(newStage(1<<20), false), last != nil, last...)
					expect(t, watch(newStage(1<<20), true), false, last...)
				}
			})
		}
	}
}

// orChild returns a key whose events a watcher of key sees: nothing happens on
// the root itself.
func orChild(key string) string {
	if key == "/" {
		return "/z"
	}
	return key
}

func TestHiddenBelow(t *testing.T) {
	for _, c := range []struct {
		dir, key string
		want     bool
	}{
		{"/", "/a", false},
		{"/", "/_a", true},
		{"/_a", "/_a", false},
		{"/_a", "/_a/b", false},
		{"/_a", "/_a/b/_c/d", true},
	} {
		if got := hiddenBelow(store.ParseKey(c.dir), store.ParseKey(c.key)); got != c.want {
			t.Errorf("hiddenBelow(%s, %s) = %v", c.dir, c.key, got)
		}
	}
}
