package cluster

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/witan-kv/witan/store"
)

// logged is an advance in a simulated log.
type logged struct {
	appended, applied time.Duration // since the start
	cmd               store.Command
}

// raftLog is a log of advances that two members propose to.
type raftLog struct {
	now     time.Duration
	entries []logged
}

// add appends what is proposed now and takes a while to arrive.
func (l *raftLog) add(cmd store.Command, arrives, commits time.Duration) {
	l.entries = append(l.entries, logged{l.now + arrives, l.now + arrives + commits, cmd})
	slices.SortStableFunc(l.entries, func(a, b logged) int { return int(a.appended - b.appended) })
}

// logWait is how long an advance may wait at the leader to be logged.
const logWait = store.Tick - advanceMost

// TestClockIsNeverEarly lets the clocks of two members run over a log that
// commits slowly, loses proposals, changes leaders, and takes in what a member
// proposes that does not know yet that it was deposed. (It learns that with the
// first message of its successor, and before that nothing of its comes through:
// so such an advance may be superfluous, but is not long on its way.) Whatever
// is written, the clock that follows it in the log must not gain more than the
// real time and one tick.
func TestClockIsNeverEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depositions := rapid.Bool().Draw(t, "depositions")
		slack := store.Tick
		if depositions {
			slack += advanceMost
		}
		var log raftLog
		start := time.Now()
		leader, term := 0, uint64(1)
		known := []uint64{1, 1} // each member's term
		clocks := make([]groupClock, 2)
		for i := range clocks {
			clocks[i].send = func(cmd store.Command) error {
				arrives := millis(t, "logged", int(logWait/time.Millisecond))
				switch rapid.IntRange(0, 9).Draw(t, "fate") {
				case 0:
					return errors.New("refused")
				case 1: // lost on its way
				default:
					log.add(cmd, arrives, millis(t, "commit", 800))
				}
				return nil
			}
		}
		for step := range rapid.IntRange(1, 120).Draw(t, "steps") {
			log.now += advanceEvery + millis(t, "late", 400)
			if rapid.IntRange(0, 15).Draw(t, "election") == 0 {
				term, leader = term+1, 1-leader
			}
			clock := replay(log.entries, log.now)
			for i := range clocks {
				deposed := depositions && i != leader && rapid.IntRange(0, 3).Draw(t, "does not know") == 0
				if !deposed {
					known[i] = term
				}
				log.now += time.Duration(1 + i*step) // no two measure the same to the nanosecond
				clocks[i].step(start.Add(log.now), clock, known[i], i == leader || deposed)
			}
		}
		checkNeverEarly(t, log.entries, slack)
	})
}

func millis(t *rapid.T, name string, limit int) time.Duration {
	return time.Duration(rapid.IntRange(0, limit).Draw(t, name)) * time.Millisecond
}

// replay returns the clock after all that is applied at now. Entries are
// applied in order: a slow one holds up those behind it.
func replay(log []logged, now time.Duration) (clock int64) {
	for _, e := range log {
		if e.appended > now || e.applied > now {
			break
		}
		clock = apply(clock, e.cmd)
	}
	return clock
}

// apply is the store's rule for OpAdvance.
func apply(clock int64, cmd store.Command) int64 {
	if cmd.Clock != clock {
		return clock
	}
	return clock + min(cmd.Step, int64(store.Tick))
}

// checkNeverEarly compares, for something written just before each entry, the
// clock's gain with the real time at every later entry.
func checkNeverEarly(t *rapid.T, log []logged, slack time.Duration) {
	var clock int64
	before := make([]int64, len(log)) // the clock before each entry
	for i, e := range log {
		before[i] = clock
		clock = apply(clock, e.cmd)
		for j := range log[:i+1] {
			// Written at the last moment before entry j.
			gained, passed := time.Duration(clock-before[j]), e.appended-log[j].appended
			if gained > passed+slack {
				t.Fatalf("the clock gained %v in %v after what was written at %v", gained, passed, log[j].appended)
			}
		}
	}
}

// A clock nobody disturbs keeps real time.
func TestClockKeepsTime(t *testing.T) {
	const slow = 700 * time.Millisecond // commit, much longer than a step
	var log []logged
	var now time.Duration
	start := time.Now()
	c := groupClock{send: func(cmd store.Command) error {
		log = append(log, logged{now, now + slow, cmd})
		return nil
	}}
	for now < time.Minute {
		now += advanceEvery
		c.step(start.Add(now), replay(log, now), 1, true)
	}
	clock := time.Duration(replay(log, now))
	if lag := now - clock; lag > slow+advanceMost || lag < 0 {
		t.Errorf("after %v the clock is at %v", now, clock)
	}
}

// A clock that steps back costs time, and the group never hears of it: an
// advance of less than nothing is an entry that no replica can apply.
func TestClockStepsBack(t *testing.T) {
	var log []logged
	var now time.Duration
	start := time.Now()
	c := groupClock{send: func(cmd store.Command) error {
		if cmd.Step <= 0 {
			t.Fatalf("an advance by %v was proposed", time.Duration(cmd.Step))
		}
		log = append(log, logged{now, now, cmd})
		return nil
	}}
	step := func(by time.Duration) {
		now += by
		c.step(start.Add(now), replay(log, now+time.Hour), 1, true)
	}
	for range 10 {
		step(advanceEvery)
	}
	before := replay(log, now)
	step(-3 * time.Millisecond)
	step(0)
	for range 10 {
		step(advanceEvery)
	}
	if gained := time.Duration(replay(log, now) - before); gained < 9*advanceEvery || gained > 10*advanceEvery {
		t.Errorf("the clock gained %v in ten steps after one back", gained)
	}
}
