package api

import (
	"errors"
	"slices"
	"strings"

	"github.com/witan-kv/witan/scripts/torture/internal/history"
)

// harmless are the error codes that prove a write had no effect (contract §3.1): the store
// looked and declined, or the request was never understood. A full disk is another way: see full.
func harmless() []int {
	return []int{100, 101, 102, 103, 104, 105, 106, 107, 108, 201, 202, 203, 209, 210, 211, 212, 401}
}

// CodeRaftInternal is the error code of everything that is not the client's mistake.
const CodeRaftInternal = 300

// full says that a member refused a write for want of space, which witan does before anybody else hears of it.
func full(a Answer) bool {
	return a.Code == CodeRaftInternal && a.Status == 500 && strings.Contains(a.Cause, "read-only: its disk is nearly full")
}

// Outcome is what a client may conclude from an answer or an error. A write is certainly without effect only if it
// was never sent or the store declined it; 5xx, time-outs and resets prove nothing.
func Outcome(a Answer, err error) history.Outcome {
	switch {
	case errors.Is(err, ErrNotSent):
		return history.Fail
	case err != nil:
		return history.Unknown
	case a.Code == 0 && (a.Status == 200 || a.Status == 201) && a.Node != nil:
		return history.OK
	case full(a):
		return history.Fail
	case a.Status < 500 && slices.Contains(harmless(), a.Code):
		return history.Fail
	}
	return history.Unknown
}

// ReadOutcome is Outcome for reads, to which a missing key is an answer.
func ReadOutcome(a Answer, err error) history.Outcome {
	if err == nil && a.Code == 100 {
		return history.OK
	}
	return Outcome(a, err)
}
