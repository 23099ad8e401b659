package v2_test

import (
	"errors"
	"io"
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
	"github.com/witan-kv/witan/scripts/torture/internal/v2"
)

// TestOutcome is the table of what an answer proves. To take a write for harmless when it was not
// would make the suite blame a correct server.
func TestOutcome(t *testing.T) {
	node := &v2.Node{Key: "/a"}
	for name, c := range map[string]struct {
		answer v2.Answer
		err    error
		want   history.Outcome
	}{
		"set":                  {v2.Answer{Status: 200, Node: node}, nil, history.OK},
		"created":              {v2.Answer{Status: 201, Node: node}, nil, history.OK},
		"no connection":        {v2.Answer{}, errors.Join(v2.ErrNotSent, io.EOF), history.Fail},
		"connection lost":      {v2.Answer{}, io.ErrUnexpectedEOF, history.Unknown},
		"half an answer":       {v2.Answer{Status: 200}, io.ErrUnexpectedEOF, history.Unknown},
		"no key":               {v2.Answer{Status: 404, Code: 100}, nil, history.Fail},
		"compare failed":       {v2.Answer{Status: 412, Code: 101}, nil, history.Fail},
		"exists":               {v2.Answer{Status: 412, Code: 105}, nil, history.Fail},
		"raft internal error":  {v2.Answer{Status: 500, Code: 300}, nil, history.Unknown},
		"leader election":      {v2.Answer{Status: 500, Code: 301}, nil, history.Unknown},
		"unavailable":          {v2.Answer{Status: 503}, nil, history.Unknown},
		"success without node": {v2.Answer{Status: 200}, nil, history.Unknown},
		"harmless code on 500": {v2.Answer{Status: 500, Code: 100}, nil, history.Unknown},
		"unknown client error": {v2.Answer{Status: 400, Code: 999}, nil, history.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := v2.Outcome(c.answer, c.err); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
