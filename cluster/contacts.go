package cluster

import (
	"slices"
	"sync"
)

// contacts are where members that have connected say that they are. The table
// may not know: a member that joined or moved while this one was away, and
// leads the meta group by now, is the only one this table can learn it from. Raft
// demands as much (Raft §4.1: a server takes entries and votes from those that
// are not in its latest configuration).
type contacts struct {
	mu  sync.Mutex
	met map[uint64][]string // peer URLs
}

func (c *contacts) meet(member uint64, urls []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.met == nil {
		c.met = map[uint64][]string{}
	}
	c.met[member] = urls
}

// complete adds to the peer URLs that the table has for a member those that it has told.
func (c *contacts) complete(member uint64, known []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	urls := slices.Clone(known)
	for _, u := range c.met[member] {
		if !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	return urls
}
