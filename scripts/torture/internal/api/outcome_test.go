package api_test

import (
	"errors"
	"io"
	"testing"

	"github.com/witan-kv/witan/scripts/torture/internal/api"
	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// TestOutcome is the table of what an answer proves. To take a write for harmless when it was not
// would make the suite blame a correct server.
func TestOutcome(t *testing.T) {
	node := &api.Node{Key: "/a"}
	for name, c := range map[string]struct {
		answer api.Answer
		err    error
		want   history.Outcome
	}{
		"set":                  {api.Answer{Status: 200, Node: node}, nil, history.OK},
		"created":              {api.Answer{Status: 201, Node: node}, nil, history.OK},
		"no connection":        {api.Answer{}, errors.Join(api.ErrNotSent, io.EOF), history.Fail},
		"connection lost":      {api.Answer{}, io.ErrUnexpectedEOF, history.Unknown},
		"half an answer":       {api.Answer{Status: 200}, io.ErrUnexpectedEOF, history.Unknown},
		"no key":               {api.Answer{Status: 404, Code: 100}, nil, history.Fail},
		"compare failed":       {api.Answer{Status: 412, Code: 101}, nil, history.Fail},
		"exists":               {api.Answer{Status: 412, Code: 105}, nil, history.Fail},
		"raft internal error":  {api.Answer{Status: 500, Code: 300}, nil, history.Unknown},
		"leader election":      {api.Answer{Status: 500, Code: 301}, nil, history.Unknown},
		"unavailable":          {api.Answer{Status: 503}, nil, history.Unknown},
		"success without node": {api.Answer{Status: 200}, nil, history.Unknown},
		"harmless code on 500": {api.Answer{Status: 500, Code: 100}, nil, history.Unknown},
		"unknown client error": {api.Answer{Status: 400, Code: 999}, nil, history.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := api.Outcome(c.answer, c.err); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
