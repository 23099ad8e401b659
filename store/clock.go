package store

// maxExpired is how many events one OpAdvance makes at most. What is due
// beyond that expires at the next ones, in the same order.
const maxExpired = 4096

// due is a note of the expiry queue.
type due struct {
	deadline int64
	key      Key
}

// advance moves the group clock and lets expire what is due then, by deadline
// and then by path (design §5). It is void if the clock is not where the
// proposer saw it: another leader was faster.
func (st *step) advance(c *Command) []*Event {
	h := &st.head
	if c.Clock != h.clock || c.Step <= 0 {
		return nil
	}
	h.clock += min(c.Step, int64(Tick))
	notes := st.dueBy(h.clock)
	h.sweep = h.clock + 1
	if len(notes) == maxExpired {
		h.sweep = notes[len(notes)-1].deadline
	}
	if len(notes) == 0 {
		return nil
	}
	st.dead = make(map[string]struct{}, len(notes))
	events := make([]*Event, 0, len(notes))
	for _, n := range notes {
		// A node may have gone with a directory above it a moment ago.
		if r, found := st.get(n.key); found {
			events = append(events, st.remove(ActionExpire, n.key, r))
		}
	}
	return events
}

// dueBy returns the first notes of the queue that are due at clock. It begins
// where the last sweep ended, not at the start of the queue, where nothing is
// but what was removed.
func (st *step) dueBy(clock int64) []due {
	var notes []due
	err := st.view.scan(queueStart(st.head.sweep), queueStart(clock+1), st.view.head.frontier,
		func(place string, _ version) bool {
			deadline, k, ok := parseQueueKey(place)
			if !ok {
				st.fail(errMalformed)
				return false
			}
			notes = append(notes, due{deadline, k})
			return len(notes) < maxExpired
		})
	st.fail(err)
	return notes
}
