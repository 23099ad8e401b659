package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lni/dragonboat/v4"
)

// founded returns the table of a cluster of founders 1…n that have all started.
func founded(t *testing.T, members, groups int) *meta {
	t.Helper()
	id := &identity{Groups: groups, Removed: []uint64{99}}
	for i := range uint64(members) {
		id.Members = append(id.Members, identityMember{ID: i + 1, PeerURLs: []string{fmt.Sprintf("http://m%d:2380", i+1)}})
	}
	m := newMeta(id)
	for i := range uint64(members) {
		o := do(t, m, metaCommand{Op: opPublish, ID: i + 1, Name: fmt.Sprintf("m%d", i+1), Instance: i + 1, Boots: 1, Nonce: i + 1})
		if o.verdict != done {
			t.Fatalf("member %d cannot publish: %d", i+1, o.verdict)
		}
	}
	return m
}

var logIndex uint64 // of the test's only log; tests of this package do not run in parallel

func do(t *testing.T, m *meta, cmd metaCommand) outcome {
	t.Helper()
	logIndex++
	o, err := m.table.apply(&cmd, logIndex)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func add(id uint64, strict bool) metaCommand {
	return metaCommand{Op: opAdd, ID: id, PeerURLs: []string{fmt.Sprintf("http://m%d:2380", id)}, Nonce: id, Strict: strict}
}

func remove(id uint64, strict bool) metaCommand {
	return metaCommand{Op: opRemove, ID: id, Nonce: id, Strict: strict}
}

// settle lets every group take up the change in progress.
func settle(t *testing.T, m *meta) {
	t.Helper()
	for m.table.Change != nil {
		c := m.table.Change
		do(t, m, metaCommand{Op: opReached, Change: c.ID, Shard: c.Left[len(c.Left)-1]})
	}
}

func TestTable(t *testing.T) {
	for _, tc := range []struct {
		name    string
		members int
		before  []metaCommand // each settled before the next
		cmd     metaCommand
		want    verdict
		reason  string
	}{
		{"add", 3, nil, add(4, true), done, ""},
		{"add to one", 1, nil, add(2, true), done, ""},
		{"add a second unstarted to one", 1, []metaCommand{add(2, true)}, add(3, true), unsafeChange, "fewer than the quorum of 2"},
		{"add a second unstarted to three", 3, []metaCommand{add(4, true)}, add(5, true), done, ""},
		{"add a third unstarted to three", 3, []metaCommand{add(4, true), add(5, true)}, add(6, true), unsafeChange, "make 6 of which 3"},
		{"add a third unstarted, not strict", 3, []metaCommand{add(4, true), add(5, true)}, add(6, false), done, ""},
		{"add with a taken URL", 3, nil, metaCommand{Op: opAdd, ID: 4, PeerURLs: []string{"http://m2:2380"}}, peerURLTaken, ""},
		{"add with a taken id", 3, nil, metaCommand{Op: opAdd, ID: 2, PeerURLs: []string{"http://x:2380"}, Nonce: 5}, idTaken, ""},
		{"add with a removed id", 3, []metaCommand{remove(3, true)}, add(3, true), idTaken, ""},
		{"add with an id from before the cluster", 3, nil, add(99, true), idTaken, ""},
		{"remove", 3, nil, remove(2, true), done, ""},
		{"remove one that has not started", 3, []metaCommand{add(4, true)}, remove(4, true), done, ""},
		{"remove a started one beside one that has not", 1, []metaCommand{add(2, true)}, remove(1, false), unsafeChange, "none of the other members"},
		{"remove the last", 1, nil, remove(1, false), unsafeChange, "last member"},
		{"remove too many", 2, []metaCommand{add(3, true), add(4, false)}, remove(1, true), unsafeChange, "of which 1 have started"},
		{"remove again", 3, []metaCommand{remove(2, true)}, remove(2, true), memberRemoved, ""},
		{"remove nobody", 3, nil, remove(7, true), noMember, ""},
		{"update", 3, nil, metaCommand{Op: opUpdate, ID: 2, PeerURLs: []string{"http://y:2380"}}, done, ""},
		{"update to its own", 3, nil, metaCommand{Op: opUpdate, ID: 2, PeerURLs: []string{"http://m2:2380"}}, done, ""},
		{"update to another's", 3, nil, metaCommand{Op: opUpdate, ID: 2, PeerURLs: []string{"http://m3:2380"}}, peerURLTaken, ""},
		{"update nobody", 3, nil, metaCommand{Op: opUpdate, ID: 7}, noMember, ""},
		{"update a removed one", 3, []metaCommand{remove(2, true)}, metaCommand{Op: opUpdate, ID: 2}, memberRemoved, ""},
		{"start again", 3, nil, metaCommand{Op: opPublish, ID: 2, Name: "m2", Instance: 2, Boots: 2, Nonce: 7}, done, ""},
		{"publish twice", 3, nil, metaCommand{Op: opPublish, ID: 2, Name: "m2", Instance: 2, Boots: 1, Nonce: 2}, done, ""},
		{"start from a copy", 3, nil, metaCommand{Op: opPublish, ID: 2, Name: "m2", Instance: 2, Boots: 1, Nonce: 7}, rolledBack, ""},
		{"start from an older copy", 3, nil, metaCommand{Op: opPublish, ID: 2, Name: "m2", Instance: 2, Boots: 0, Nonce: 7}, rolledBack, ""},
		{"start from nothing", 3, nil, metaCommand{Op: opPublish, ID: 2, Name: "m2", Instance: 5, Boots: 1, Nonce: 7}, otherInstance, ""},
		{"start when removed", 3, []metaCommand{remove(2, true)}, metaCommand{Op: opPublish, ID: 2, Instance: 2, Boots: 2}, memberRemoved, ""},
		{"claim", 3, []metaCommand{add(4, true)}, metaCommand{Op: opClaim, ID: 4, Instance: 5}, done, ""},
		{"claim twice", 3, []metaCommand{add(4, true), {Op: opClaim, ID: 4, Instance: 5}}, metaCommand{Op: opClaim, ID: 4, Instance: 5}, done, ""},
		{"claim what another has", 3, []metaCommand{add(4, true), {Op: opClaim, ID: 4, Instance: 5}}, metaCommand{Op: opClaim, ID: 4, Instance: 6}, otherInstance, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := founded(t, tc.members, 2)
			for _, cmd := range tc.before {
				if o := do(t, m, cmd); o.verdict != done {
					t.Fatalf("%+v ended with %d", cmd, o.verdict)
				}
				settle(t, m)
			}
			o := do(t, m, tc.cmd)
			if o.verdict != tc.want || !strings.Contains(o.reason, tc.reason) {
				t.Errorf("verdict %d (%s), want %d (%s)", o.verdict, o.reason, tc.want, tc.reason)
			}
		})
	}
}

// A second change waits until the first is through in all groups.
func TestOneChangeAtATime(t *testing.T) {
	m := founded(t, 3, 4)
	first := do(t, m, add(4, true))
	if again := do(t, m, add(4, true)); again.change != first.change {
		t.Errorf("the same command sent twice waits for change %d, want %d", again.change, first.change)
	}
	for len(m.table.Change.Left) > 1 {
		for _, cmd := range []metaCommand{add(5, false), remove(2, false)} {
			if o := do(t, m, cmd); o.verdict != changePending || !strings.Contains(o.reason, "addition of member 4") {
				t.Fatalf("%s during an addition: %d (%s)", cmd.Op, o.verdict, o.reason)
			}
		}
		do(t, m, metaCommand{Op: opReached, Change: first.change, Shard: m.table.Change.Left[0]})
		do(t, m, metaCommand{Op: opReached, Change: first.change + 1000, Shard: m.table.Change.Left[0]}) // of another change
	}
	settle(t, m)
	removal := do(t, m, remove(4, true))
	if again := do(t, m, remove(4, true)); removal.verdict != done || again.change != removal.change {
		t.Errorf("a removal asked for twice waits for change %d, want %d", again.change, removal.change)
	}
	if got := m.table.members(); len(got) != 3 {
		t.Errorf("a member that is to leave is shown: %v", got)
	}
}

// Replicas that apply the same have the same table, snapshots in between or not.
func TestTableSnapshot(t *testing.T) {
	m := founded(t, 3, 2)
	do(t, m, add(4, true))
	var saved strings.Builder
	if err := m.SaveSnapshot(&saved, nil, nil); err != nil {
		t.Fatal(err)
	}
	restored := newMeta(&identity{Groups: 2})
	if err := restored.RecoverFromSnapshot(strings.NewReader(saved.String()), nil, nil); err != nil {
		t.Fatal(err)
	}
	settle(t, m)
	settle(t, restored)
	if diff := cmp.Diff(asJSON(t, m.table), asJSON(t, restored.table)); diff != "" {
		t.Errorf("the restored table differs (-want +got):\n%s", diff)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// group of the simulation: what Dragonboat keeps of a membership.
type simGroup struct {
	shard            uint64
	voters, learners map[uint64]string
	gone             map[uint64]struct{}
	leader           uint64
}

func (g *simGroup) membership() *dragonboat.Membership {
	return &dragonboat.Membership{Nodes: g.voters, NonVotings: g.learners, Removed: g.gone}
}

// Whatever order leaders work in, and wherever they are cut off, all groups end
// as the table says; no group ever loses its last voter, and the meta group
// lets go of a member last.
func TestReconcileConverges(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(1, seed))
		m := founded(t, 1+r.IntN(4), 1+r.IntN(4))
		s := newSimulation(m)
		next := uint64(100)
		for range 200 {
			switch members := m.table.members(); r.IntN(6) {
			case 0:
				next++
				do(t, m, add(next, r.IntN(2) == 0))
			case 1:
				do(t, m, remove(members[r.IntN(len(members))].ID, r.IntN(2) == 0))
			case 2: // a member starts
				id := members[r.IntN(len(members))].ID
				do(t, m, metaCommand{Op: opPublish, ID: id, Name: "x", Instance: id, Boots: m.table.Members[id].Boots + 1})
			default:
				s.work(t, r, s.groups[r.IntN(len(s.groups))], fmt.Sprint("seed ", seed))
			}
		}
		for range 400 {
			s.work(t, r, s.groups[r.IntN(len(s.groups))], fmt.Sprint("seed ", seed))
		}
		s.check(t, fmt.Sprint("seed ", seed))
	}
}

type simulation struct {
	m      *meta
	groups []*simGroup
}

func newSimulation(m *meta) *simulation {
	s := &simulation{m: m}
	for i := range len(m.table.Replicas) + 1 {
		g := &simGroup{shard: uint64(metaShard + i), voters: map[uint64]string{}, learners: map[uint64]string{}, gone: map[uint64]struct{}{}}
		for _, mb := range m.table.members() {
			g.voters[mb.ID] = ""
		}
		s.groups = append(s.groups, g)
	}
	return s
}

// work lets some voter lead a group and make a step, or be cut off before the
// table hears of it.
func (s *simulation) work(t *testing.T, r *rand.Rand, g *simGroup, what string) {
	t.Helper()
	if _, ok := g.voters[g.leader]; !ok || r.IntN(5) == 0 {
		voters := slices.Sorted(maps.Keys(g.voters))
		g.leader = voters[r.IntN(len(voters))]
	}
	w := s.m.wish(g.shard)
	have := g.membership()
	switch st := w.next(have, g.leader); st.kind {
	case stepLearner:
		g.learners[st.member] = ""
	case stepPromote:
		delete(g.learners, st.member)
		g.voters[st.member] = ""
	case stepHandOver:
		others := slices.DeleteFunc(slices.Sorted(maps.Keys(g.voters)), func(id uint64) bool { return id == st.member })
		if len(others) == 0 {
			t.Fatalf("%s: group %d: %x is to hand over to nobody", what, g.shard, st.member)
		}
		g.leader = others[r.IntN(len(others))]
	case stepRemove:
		delete(g.voters, st.member)
		delete(g.learners, st.member)
		g.gone[st.member] = struct{}{}
		if len(g.voters) == 0 {
			t.Fatalf("%s: group %d lost its last voter", what, g.shard)
		}
		if g.shard == metaShard {
			for _, other := range s.groups {
				if _, ok := other.gone[st.member]; !ok {
					t.Fatalf("%s: the meta group let go of %x before group %d did", what, st.member, other.shard)
				}
			}
		}
	case stepReached:
		do(t, s.m, metaCommand{Op: opReached, Change: w.change.ID, Shard: g.shard})
	}
}

// check compares the groups with the table; a change may be stuck only where a
// member that has not started would be the only one left.
func (s *simulation) check(t *testing.T, what string) {
	t.Helper()
	if c := s.m.table.Change; c != nil {
		t.Errorf("%s: %s", what, c.describe())
	}
	for _, g := range s.groups {
		for _, mb := range s.m.table.members() {
			_, voter := g.voters[mb.ID]
			_, learner := g.learners[mb.ID]
			if voter == learner || voter != (mb.Name != "") {
				t.Errorf("%s: group %d: member %x %q is voter: %v, learner: %v", what, g.shard, mb.ID, mb.Name, voter, learner)
			}
		}
		if got, want := len(g.voters)+len(g.learners), len(s.m.table.members()); got != want {
			t.Errorf("%s: group %d has %d replicas, want %d", what, g.shard, got, want)
		}
	}
}
