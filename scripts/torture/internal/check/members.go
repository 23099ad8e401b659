package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Membership is who the members should be from some time on.
type Membership struct {
	Since time.Duration // when the change that led here was asked for; others may see it from then on
	IDs   []string      // sorted
}

// View is a list of members as one process showed it.
type View struct {
	Process string // a restarted member is another process
	At      time.Duration
	IDs     []string // sorted
}

// Views says that every list of members shown was one that had been asked for, and that no process went back to an
// older one: removed ids do not come back (MEM-2, MEM-4). Views of a process are in the order of their times.
func Views(views []View, states []Membership) []Violation {
	var out []Violation
	newest := map[string]int{}
	for _, v := range views {
		equal := func(s Membership) bool { return slices.Equal(s.IDs, v.IDs) }
		begin := newest[v.Process]
		i := slices.IndexFunc(states[begin:], equal) + begin // the same members may have been wanted more than once
		switch {
		case !slices.ContainsFunc(states, equal):
			out = append(out, violation("members", nil, "%s lists %v at %v, which was never asked for", v.Process, v.IDs, v.At))
		case i < begin:
			out = append(out, violation("members", nil, "%s lists %v at %v, after it had listed %v", v.Process, v.IDs, v.At, states[begin].IDs))
		case v.At < states[i].Since:
			out = append(out, violation("members", nil, "%s lists %v at %v, before %v when it was asked for", v.Process, v.IDs, v.At, states[i].Since))
		default:
			newest[v.Process] = i
		}
	}
	return out
}

// Entry is one member as a list shows it.
type Entry struct {
	ID, Name string
	Peers    []string
	Clients  []string
}

// Lists says that every member lists exactly the members wanted, with their names and addresses (MEM-1). Both are in the order of ids.
func Lists(lists map[string][]Entry, want []Entry) []Violation {
	var out []Violation
	for _, from := range slices.Sorted(maps.Keys(lists)) {
		if got := lists[from]; !slices.EqualFunc(got, want, same) {
			out = append(out, violation("members", nil, "%s lists %v, not %v", from, got, want))
		}
	}
	return out
}

func same(a, b Entry) bool {
	return a.ID == b.ID && a.Name == b.Name && slices.Equal(a.Peers, b.Peers) && slices.Equal(a.Clients, b.Clients)
}

// Replicas is which members hold a group, as one of them says.
type Replicas struct {
	Asked  string
	Group  string
	Voters []string // ids, sorted; learners are none
}

// Held says that every group has exactly the wanted members as voters, by the word of every member (MEM-1).
func Held(shown []Replicas, want []string) []Violation {
	var out []Violation
	for _, r := range shown {
		if !slices.Equal(r.Voters, want) {
			out = append(out, violation("replicas", nil, "group %s is held by %v, as %s says, not by %v", r.Group, r.Voters, r.Asked, want))
		}
	}
	return out
}

// Step is one step of a membership change as the member that took it logged it.
type Step struct {
	At     time.Time
	By     string // the member's name
	Group  string
	Kind   string
	Member string // id of the one who comes or goes
}

// String is the step on one line.
func (s Step) String() string {
	return fmt.Sprintf("%s %s: %s %s in group %s", s.At.Format("15:04:05.000"), s.By, s.Kind, s.Member, s.Group)
}

// Apart says that no two membership changes were under way at the same time: in the order of their times, the steps that
// bring a member in or take it out are not mixed with those of another change (MEM-2). A promotion may come
// later, when the new member has started.
func Apart(steps []Step) []Violation {
	ordered := slices.Clone(steps)
	slices.SortStableFunc(ordered, func(a, b Step) int { return a.At.Compare(b.At) })
	over := map[string]bool{}
	var current string
	var last Step
	var out []Violation
	for _, s := range ordered {
		if s.Kind != "add learner" && s.Kind != "remove" {
			continue
		}
		change := s.Kind + " " + s.Member
		if change != current {
			over[current], current = true, change
			if over[change] {
				v := violation("apart", nil, "%q went on after another change had begun", change)
				v.Evidence = []string{last.String(), s.String()}
				out = append(out, v)
			}
		}
		last = s
	}
	return out
}

// Balanced says whether leaders are spread over the members as evenly as can be: no two members' numbers of groups
// led differ by more than one (MEM-7). The text tells who leads how many.
func Balanced(leaders []string, members []string) (string, bool) {
	led := map[string]int{}
	for _, l := range leaders {
		led[l]++
	}
	var parts []string
	least, greatest, known := len(leaders), 0, 0
	for _, m := range members {
		least, greatest, known = min(least, led[m]), max(greatest, led[m]), known+led[m]
		parts = append(parts, fmt.Sprintf("%s %d", m, led[m]))
	}
	return strings.Join(parts, ", "), greatest-least <= 1 && known == len(leaders)
}

// WidestGap is the longest time in [from, to] without any of the acknowledgements, which are in order.
func WidestGap(acks []time.Duration, from, to time.Duration) time.Duration {
	var widest time.Duration
	last := from
	for _, at := range acks {
		if at < from || at > to {
			continue
		}
		widest, last = max(widest, at-last), at
	}
	return max(widest, to-last)
}
