package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/witan-kv/witan/scripts/torture/internal/check"
)

// stepOf reads a log line that tells of a step of a membership change.
func stepOf(by, line string) (check.Step, bool) {
	const message = "membership step"
	if !strings.Contains(line, message) {
		return check.Step{}, false
	}
	var l struct {
		Time    time.Time `json:"time"`
		Message string    `json:"message"`
		Group   string    `json:"group"`
		Step    string    `json:"step"`
		Member  string    `json:"member"`
	}
	if json.Unmarshal([]byte(line), &l) != nil || l.Message != message {
		return check.Step{}, false
	}
	return check.Step{At: l.Time, By: by, Group: l.Group, Kind: l.Step, Member: l.Member}, true
}

// steps are all that the members have logged.
func (c *council) steps() ([]check.Step, error) {
	var out []check.Step
	for _, m := range c.cluster.Everyone() {
		lines, err := m.Lines()
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if s, ok := stepOf(m.Name, l); ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}
