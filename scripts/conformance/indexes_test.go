package main

import "testing"

func TestIndexMapConstant(t *testing.T) {
	m := newIndexMap(true, 2)
	for _, tc := range []struct {
		left, right uint64
		ok          bool
	}{
		{4, 6, true}, {4, 6, true}, {100, 102, true}, {0, 0, true},
		{4, 7, false}, {5, 6, false}, {0, 2, false}, {3, 0, false},
	} {
		if err := m.event(tc.left, tc.right, "a"); (err == nil) != tc.ok {
			t.Errorf("event %d/%d: %v", tc.left, tc.right, err)
		}
		if err := m.position(tc.left, tc.right, "a"); (err == nil) != tc.ok {
			t.Errorf("position %d/%d: %v", tc.left, tc.right, err)
		}
	}
}

func TestIndexMapEvents(t *testing.T) {
	m := newIndexMap(false, 0)
	for _, tc := range []struct {
		what        string
		left, right uint64
		top         string
		ok          bool
	}{
		{"first", 4, 9, "a", true},
		{"again", 4, 9, "a", true},
		{"twice on the right", 4, 13, "a", false},
		{"twice on the left", 5, 9, "b", false},
		{"higher", 8, 20, "b", true},
		{"between", 6, 12, "a", true},
		{"between, too low", 7, 11, "a", false},
		{"between, too high", 7, 21, "a", false},
		{"below all", 3, 10, "a", false},
		{"below all, in order", 3, 8, "a", true},
	} {
		if err := m.event(tc.left, tc.right, tc.top); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}

func TestIndexMapFrontiers(t *testing.T) {
	type check struct {
		what        string
		left, right uint64
		top         string
		event, ok   bool
	}
	m := newIndexMap(false, 0)
	for _, tc := range []check{
		{"event", 4, 9, "a", true, true},
		{"position at the event", 4, 9, "a", false, true},
		{"position above it", 4, 17, "a", false, true},
		{"position going back", 4, 13, "a", false, false},
		{"another directory's may be lower", 4, 6, "b", false, true},
		{"the root's not below any event", 4, 8, "", false, false},
		{"event not above what was given out", 5, 17, "a", true, false},
		{"event above it", 5, 21, "a", true, true},
		{"position below an event", 5, 20, "a", false, false},
		{"the root's position", 5, 30, "", false, true},
		{"event in a directory below the root's position", 6, 26, "b", true, false},
		{"event above the root's position", 6, 31, "b", true, true},
	} {
		check := m.position
		if tc.event {
			check = m.event
		}
		if err := check(tc.left, tc.right, tc.top); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}
