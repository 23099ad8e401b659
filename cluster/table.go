package cluster

import (
	"fmt"
	"maps"
	"slices"
)

// table is the state of the meta group: who the members are, which of them
// hold a replica of which key group, and the membership change in progress.
// It says what should be; the leader of each group makes it so (reconcile.go).
// Slices in it are replaced, never changed, so that readers may keep them.
type table struct {
	Members map[uint64]record `json:"members"`
	// Replicas lists the members that hold a replica, group by group. It is
	// never assumed to be "all members" (design §3).
	Replicas [][]uint64 `json:"replicas"`
	// Removed are the ids of former members. They never come back.
	Removed []uint64 `json:"removed,omitempty"`
	// Change is the one membership change that is not through yet.
	Change *change `json:"change,omitempty"`
}

// record is a member with what only the cluster itself has to know of it.
type record struct {
	Member
	Added    uint64 `json:"added,omitempty,string"`    // nonce of the command that added it
	Instance uint64 `json:"instance,omitempty,string"` // of its data directory, 0 until it has started
	Boots    uint64 `json:"boots,omitempty"`           // starts from that directory
	Boot     uint64 `json:"boot,omitempty,string"`     // nonce of the last start
	Leaving  bool   `json:"leaving,omitempty"`         // being removed
}

func (r *record) started() bool { return r.Name != "" }

// change is an addition or a removal of a member that some groups have not
// taken up yet.
type change struct {
	ID     uint64   `json:"id"` // log index of the command
	Member uint64   `json:"member,string"`
	Remove bool     `json:"remove,omitempty"`
	Left   []uint64 `json:"left"` // shards that have not
}

// metaCommand is one entry of the meta group's log.
type metaCommand struct {
	Op         metaOp   `json:"op"`
	ID         uint64   `json:"id,string,omitempty"`    // of the member
	Nonce      uint64   `json:"nonce,string,omitempty"` // tells a repeat from a second request
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Instance   uint64   `json:"instance,string,omitempty"`
	Boots      uint64   `json:"boots,omitempty"`
	Strict     bool     `json:"strict,omitempty"`
	Change     uint64   `json:"change,omitempty"`
	Shard      uint64   `json:"shard,omitempty"`
}

type metaOp string

const (
	opPublish metaOp = "publish" // a member says at its start what it is called and where clients reach it
	opAdd     metaOp = "add"     // a member
	opRemove  metaOp = "remove"  // a member
	opUpdate  metaOp = "update"  // a member's peer URLs
	opClaim   metaOp = "claim"   // a data directory takes an added member's place
	opReached metaOp = "reached" // a group has taken up the change
)

// verdict says how a metaCommand ended.
type verdict uint64

const (
	done verdict = iota + 1
	noMember
	memberRemoved
	peerURLTaken
	idTaken
	changePending
	unsafeChange
	otherInstance
	rolledBack
)

// apply carries out a command. It is deterministic: all replicas do the same.
func (t *table) apply(cmd *metaCommand, index uint64) (outcome, error) {
	switch cmd.Op {
	case opPublish:
		return t.publish(cmd), nil
	case opAdd:
		return t.add(cmd, index), nil
	case opRemove:
		return t.remove(cmd, index), nil
	case opUpdate:
		return t.update(cmd), nil
	case opClaim:
		return t.claim(cmd), nil
	case opReached:
		return t.reached(cmd), nil
	}
	return outcome{}, fmt.Errorf("the unknown operation %q: this version is older than the one that wrote it", cmd.Op)
}

// find returns a member that is not being removed, or why there is none.
func (t *table) find(id uint64) (record, verdict) {
	r, ok := t.Members[id]
	switch {
	case ok && !r.Leaving:
		return r, done
	case ok || slices.Contains(t.Removed, id):
		return r, memberRemoved
	}
	return r, noMember
}

// publish refuses a data directory that is not the one the member had, or that
// has gone back in time: raft would count on votes and entries it has lost.
func (t *table) publish(cmd *metaCommand) outcome {
	r, v := t.find(cmd.ID)
	if v == done {
		v = r.fits(cmd.Instance, cmd.Boots)
	}
	if v == done && cmd.Boots == r.Boots && r.Boot != cmd.Nonce {
		v = rolledBack // two starts with the same number
	}
	if v != done {
		return outcome{verdict: v}
	}
	r.Name, r.ClientURLs = cmd.Name, cmd.ClientURLs
	r.Instance, r.Boots, r.Boot = cmd.Instance, cmd.Boots, cmd.Nonce
	t.Members[cmd.ID] = r
	return outcome{verdict: done}
}

// fits checks a data directory that comes as this member's.
func (r *record) fits(instance, boots uint64) verdict {
	switch {
	case r.Instance != 0 && r.Instance != instance:
		return otherInstance
	case boots < r.Boots:
		return rolledBack
	}
	return done
}

func (t *table) claim(cmd *metaCommand) outcome {
	r, v := t.find(cmd.ID)
	if v == done {
		v = r.fits(cmd.Instance, r.Boots)
	}
	if v != done {
		return outcome{verdict: v}
	}
	r.Instance = cmd.Instance
	t.Members[cmd.ID] = r
	return outcome{verdict: done}
}

func (t *table) add(cmd *metaCommand, index uint64) outcome {
	if r, ok := t.Members[cmd.ID]; ok && r.Added == cmd.Nonce {
		return outcome{verdict: done, change: t.changeOf(cmd.ID)} // sent twice
	}
	if t.peerURLsTaken(cmd.PeerURLs, 0) {
		return outcome{verdict: peerURLTaken}
	}
	if _, ok := t.Members[cmd.ID]; ok || slices.Contains(t.Removed, cmd.ID) {
		return outcome{verdict: idTaken}
	}
	if t.Change != nil {
		return outcome{verdict: changePending, reason: t.Change.describe()}
	}
	started, all := t.count(0)
	if quorum := (all+1)/2 + 1; cmd.Strict && started < quorum && (started != 1 || all != 1) {
		return outcome{verdict: unsafeChange, reason: fmt.Sprintf(
			"adding a member would make %d of which %d have started, fewer than the quorum of %d; start the added members first or remove them",
			all+1, started, quorum)}
	}
	t.Members[cmd.ID] = record{Member: Member{ID: cmd.ID, PeerURLs: cmd.PeerURLs}, Added: cmd.Nonce}
	for i, ids := range t.Replicas {
		t.Replicas[i] = append(slices.Clone(ids), cmd.ID)
	}
	t.begin(cmd.ID, index, false)
	return outcome{verdict: done, change: index}
}

func (t *table) remove(cmd *metaCommand, index uint64) outcome {
	if c := t.Change; c != nil && c.Remove && c.Member == cmd.ID {
		return outcome{verdict: done, change: c.ID} // the same wish
	}
	r, v := t.find(cmd.ID)
	if v != done {
		return outcome{verdict: v}
	}
	if t.Change != nil {
		return outcome{verdict: changePending, reason: t.Change.describe()}
	}
	if reason := t.unsafeToRemove(&r, cmd.Strict); reason != "" {
		return outcome{verdict: unsafeChange, reason: reason}
	}
	r.Leaving = true
	t.Members[cmd.ID] = r
	for i, ids := range t.Replicas {
		t.Replicas[i] = slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return id == cmd.ID })
	}
	t.begin(cmd.ID, index, true)
	return outcome{verdict: done, change: index}
}

// unsafeToRemove says why a member must not be removed, "" if it may. Without
// a started member nobody could carry the removal out.
func (t *table) unsafeToRemove(r *record, strict bool) string {
	started, all := t.count(r.ID)
	switch quorum := all/2 + 1; {
	case all == 0:
		return "this is the last member; to end the cluster stop it and remove its data directory"
	case started == 0:
		return "none of the other members has started; start one first"
	case strict && started < quorum:
		return fmt.Sprintf("%d members would be left of which %d have started, fewer than the quorum of %d; start the others first, or remove those that have not started",
			all, started, quorum)
	}
	return ""
}

func (t *table) update(cmd *metaCommand) outcome {
	r, v := t.find(cmd.ID)
	if v != done {
		return outcome{verdict: v}
	}
	if t.peerURLsTaken(cmd.PeerURLs, cmd.ID) {
		return outcome{verdict: peerURLTaken}
	}
	r.PeerURLs = cmd.PeerURLs
	t.Members[cmd.ID] = r
	return outcome{verdict: done}
}

// begin makes a change the one in progress. Every group has to take it up.
func (t *table) begin(member, index uint64, remove bool) {
	c := &change{ID: index, Member: member, Remove: remove, Left: []uint64{metaShard}}
	for g := range t.Replicas {
		c.Left = append(c.Left, keyShard(g))
	}
	t.Change = c
}

// reached notes that a group has taken up the change. After the last one a
// removed member's id joins those that never come back.
func (t *table) reached(cmd *metaCommand) outcome {
	c := t.Change
	if c == nil || c.ID != cmd.Change {
		return outcome{verdict: done} // somebody else noted it
	}
	left := slices.DeleteFunc(slices.Clone(c.Left), func(shard uint64) bool { return shard == cmd.Shard })
	if len(left) > 0 {
		t.Change = &change{ID: c.ID, Member: c.Member, Remove: c.Remove, Left: left}
		return outcome{verdict: done}
	}
	t.Change = nil
	if c.Remove {
		delete(t.Members, c.Member)
		t.Removed = append(slices.Clone(t.Removed), c.Member)
	}
	return outcome{verdict: done}
}

// changeOf returns the id of the change in progress if it is about the member, or 0.
func (t *table) changeOf(member uint64) uint64 {
	if t.Change != nil && t.Change.Member == member {
		return t.Change.ID
	}
	return 0
}

// members lists the members that are not being removed, by ascending id.
func (t *table) members() []Member {
	out := make([]Member, 0, len(t.Members))
	for _, id := range slices.Sorted(maps.Keys(t.Members)) {
		if r := t.Members[id]; !r.Leaving {
			out = append(out, r.Member)
		}
	}
	return out
}

// count counts the members that are to stay, but for one, and those of them
// that have started.
func (t *table) count(without uint64) (started, all int) {
	for id, r := range t.Members {
		if r.Leaving || id == without {
			continue
		}
		all++
		if r.started() {
			started++
		}
	}
	return started, all
}

// peerURLsTaken reports whether a member other than the one given has one of
// the URLs.
func (t *table) peerURLsTaken(urls []string, besides uint64) bool {
	for id, r := range t.Members {
		if id == besides {
			continue
		}
		for _, u := range r.PeerURLs {
			if slices.Contains(urls, u) {
				return true
			}
		}
	}
	return false
}

// describe says what a change is, for those who have to wait for it.
func (c *change) describe() string {
	what := "addition"
	if c.Remove {
		what = "removal"
	}
	return fmt.Sprintf("the %s of member %x is not through in %s", what, c.Member, groupNames(c.Left))
}

// groupNames names shards for people.
func groupNames(shards []uint64) []string {
	names := make([]string, len(shards))
	for i, shard := range shards {
		if shard == metaShard {
			names[i] = "meta"
		} else {
			names[i] = fmt.Sprint(shard - firstKeyShard)
		}
	}
	return names
}
