package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPack checks which entries the versions of one place make, and that each
// version is in them.
func TestPack(t *testing.T) {
	live := func(index uint64) version { return version{index: index, value: fmt.Sprint("v", index)} }
	gone := func(index uint64) version { return version{index: index, gone: true} }
	for _, c := range []struct {
		versions []version
		want     string
	}{
		{[]version{live(5)}, "5"},
		{[]version{gone(5)}, "-5"},
		{[]version{live(5), live(6), live(10)}, "10(10 6 5)"},
		{[]version{live(5), live(11), live(12)}, "5 12(12 11)"},
		{[]version{live(5), gone(7)}, "5 -7"},
		{[]version{live(5), live(6), gone(7)}, "6(6 5) -7"},
		{[]version{gone(5), live(6)}, "6(6 -5)"},
		{[]version{live(4), gone(5), live(6), gone(9), live(15), gone(20), live(25), live(31)}, "6(6 -5 4) -9 15 -20 25 31"},
		{[]version{live(31), live(32)}, "32(32 31)"}, // of no event
	} {
		var got []string
		err := pack("n", c.versions, []uint64{10, 20, 30}, func(e entry) error {
			s := fmt.Sprint(e.version - firstVersion)
			if e.gone {
				s = "-" + s
			}
			if e.meta == metaPack {
				var in []string
				err := decodePack(string(e.value), e.version-firstVersion, func(v version) bool {
					if v.gone {
						in = append(in, fmt.Sprint("-", v.index))
						return true
					}
					if v.value != fmt.Sprint("v", v.index) {
						t.Errorf("version %d is %q", v.index, v.value)
					}
					in = append(in, fmt.Sprint(v.index))
					return true
				})
				if err != nil {
					t.Error(err)
				}
				s += "(" + strings.Join(in, " ") + ")"
			}
			got = append(got, s)
			return nil
		})
		if s := strings.Join(got, " "); err != nil || s != c.want {
			t.Errorf("%v makes %q, %v, not %q", c.versions, s, err, c.want)
		}
	}
}

// TestOldViews reads through views of all ages, whatever was committed, torn or
// compacted since they began.
func TestOldViews(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			testOldViews(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func testOldViews(t *testing.T, random *rand.Rand) {
	o := Options{Dir: t.TempDir(), History: 200}
	s := openFor(t, o)
	views := map[*view]uint64{} // from which index on each is compared
	forget := func() {
		for v := range views {
			v.release()
		}
		clear(views)
	}
	defer func() {
		forget()
		s.Close()
	}()
	tree := map[string]string{}
	trees := map[uint64]map[string]string{} // by index
	var log []Command
	apply := func(c Command) uint64 {
		_, raft := s.Position()
		r := s.Apply(raft+1, &c)
		if r.Failure != nil {
			t.Fatal(r.Failure)
		}
		return r.Index
	}
	for range 1000 {
		key := string(rune('a' + min(random.IntN(6), random.IntN(6))))
		c := Command{Op: OpSet, Key: ParseKey("/" + key), Value: fmt.Sprint(random.IntN(1000))}
		switch random.IntN(12) {
		case 0, 1:
			c.Op, c.Value = OpDelete, ""
			delete(tree, key)
		case 2:
			c.Value = strings.Repeat(c.Value, 1+random.IntN(15000))
			fallthrough
		default:
			tree[key] = c.Value
		}
		log = append(log, c)
		trees[apply(c)] = maps.Clone(tree)
		switch random.IntN(40) {
		case 0, 1, 2:
			s.writePending()
		case 3, 4:
			h := s.kv.current()
			v, err := s.kv.since(h.begin())
			if err != nil {
				t.Fatal(err)
			}
			views[&v] = max(v.low, 4)
		case 5:
			if len(views) > 5 {
				forget()
				if err := s.kv.db.badger.Flatten(1); err != nil {
					t.Fatal(err)
				}
			}
		case 6:
			if random.IntN(3) > 0 {
				continue
			}
			forget()
			if err := s.Tear(func() bool { return random.IntN(3) > 0 }); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			s = openFor(t, o)
			for _, c := range log[s.Applied():] {
				apply(c)
				if random.IntN(8) == 0 {
					s.writePending()
				}
			}
		}
		if random.IntN(60) == 0 {
			for v, low := range views {
				compareView(t, random, v, low, trees)
			}
		}
	}
	s.writePending()
	for v, low := range views {
		compareView(t, random, v, low, trees)
	}
}

// compareView reads at many of the indexes that a view may read at, in both ways.
func compareView(t *testing.T, random *rand.Rand, v *view, low uint64, trees map[uint64]map[string]string) {
	t.Helper()
	want := trees[low]
	for at := low; at <= v.head.frontier; at++ {
		if tree, ok := trees[at]; ok { // else nothing happened
			want = tree
		}
		if want == nil || random.IntN(8) > 0 {
			continue
		}
		got, listed := map[string]string{}, map[string]string{}
		for _, key := range "abcdef" {
			r, found, err := v.record(ParseKey("/"+string(key)), at)
			if err != nil {
				t.Fatal(err)
			}
			if found {
				got[string(key)] = r.value
			}
		}
		err := v.children(Key{}, at, func(_ string, k Key, r *record) bool {
			listed[k.Name()] = r.value
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for how, tree := range map[string]map[string]string{"got": got, "listed": listed} {
			if !maps.Equal(tree, want) {
				t.Fatalf("at %d of %d %s: %s", at, v.head.frontier, how, cmp.Diff(want, tree))
			}
		}
	}
}

// FuzzPack checks that no bytes make the decoder of packs panic, and that it
// tells everything of what it accepts.
func FuzzPack(f *testing.F) {
	f.Add(string(encodePack([]version{{index: 4, value: "a"}, {index: 9, gone: true}, {index: 11, value: "b"}})), uint64(11))
	f.Add("", uint64(3))
	f.Add("\x00\x02\x05", uint64(3))
	f.Fuzz(func(t *testing.T, s string, newest uint64) {
		decode := func(s string) (versions []version, err error) {
			err = decodePack(s, newest, func(v version) bool {
				versions = append([]version{v}, versions...)
				return true
			})
			return versions, err
		}
		versions, err := decode(s)
		if err != nil {
			return
		}
		if again, err := decode(string(encodePack(versions))); err != nil || fmt.Sprint(again) != fmt.Sprint(versions) {
			t.Fatalf("%v becomes %v, %v", versions, again, err)
		}
	})
}
