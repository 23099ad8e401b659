package check

import (
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

func TestGlimpses(t *testing.T) {
	event := func(index uint64, key string) history.Event {
		return history.Event{Action: "set", Key: key, Value: key, Index: index}
	}
	log := NewLog([]history.Event{event(3, "/a/x"), event(4, "/b"), event(6, "/a/y"), event(7, "/a/x"), event(9, "/ab")})
	for name, c := range map[string]struct {
		glimpse Glimpse
		wrong   bool
	}{
		"whole directory":      {Glimpse{Key: "/a", Recursive: true, From: 1, Events: below(event, 3, 6, 7)}, false},
		"cut short":            {Glimpse{Key: "/a", Recursive: true, From: 1, Events: below(event, 3)}, false},
		"from the middle":      {Glimpse{Key: "/a", Recursive: true, From: 4, Events: below(event, 6, 7)}, false},
		"from now on":          {Glimpse{Key: "/a", Recursive: true, Accepted: 6, Events: below(event, 7)}, false},
		"one key":              {Glimpse{Key: "/a/x", From: 1, Events: below(event, 3, 7)}, false},
		"the root":             {Glimpse{Key: "/", Recursive: true, From: 4, Events: []history.Event{event(4, "/b"), event(6, "/a/y")}}, false},
		"beyond the log":       {Glimpse{Key: "/ab", From: 9, Events: []history.Event{event(9, "/ab"), event(12, "/ab")}}, false},
		"first one missing":    {Glimpse{Key: "/a", Recursive: true, From: 1, Events: below(event, 6, 7)}, true},
		"hole":                 {Glimpse{Key: "/a", Recursive: true, From: 1, Events: below(event, 3, 7)}, true},
		"repeated":             {Glimpse{Key: "/a", Recursive: true, From: 1, Events: below(event, 3, 3)}, true},
		"older than waitIndex": {Glimpse{Key: "/a", Recursive: true, From: 4, Events: below(event, 3, 6)}, true},
		"before now":           {Glimpse{Key: "/a", Recursive: true, Accepted: 7, Events: below(event, 7)}, true},
		"of another key":       {Glimpse{Key: "/a/x", From: 4, Events: below(event, 6)}, true},
		"not in the log":       {Glimpse{Key: "/a", Recursive: true, From: 8, Events: []history.Event{event(8, "/a/z")}}, true},
	} {
		found, compared := log.Glimpses([]Glimpse{c.glimpse})
		if (len(found) > 0) != c.wrong {
			t.Errorf("%s: %v", name, found)
		}
		if !c.wrong && compared == 0 {
			t.Errorf("%s: nothing was compared", name)
		}
	}
}

// below are events of the log below /a, by index.
func below(event func(uint64, string) history.Event, indexes ...uint64) []history.Event {
	keys := map[uint64]string{3: "/a/x", 6: "/a/y", 7: "/a/x"}
	var out []history.Event
	for _, i := range indexes {
		out = append(out, event(i, keys[i]))
	}
	return out
}
