package peer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Origin is the data directory a member runs from: a random number made with
// it, and how often the member has started from it. Members compare both with
// what they know before they exchange raft messages: one that lost its data, or
// came back with an older copy, would break promises it no longer remembers.
type Origin struct {
	Instance uint64
	Boots    uint64
}

// Why a member is refused for good. The text beside says what to do.
var (
	// ErrExpelled says the member was removed from the cluster.
	ErrExpelled = errors.New("the member was removed from the cluster")
	// ErrForeignData says the member's data directory is not the one the
	// cluster knows it by.
	ErrForeignData = errors.New("the data directory is not the one this member is known by")
	// ErrOtherCluster says the member is of another cluster than the one it reached.
	ErrOtherCluster = errors.New("another cluster")
)

// refusals are the statuses that say why a member is refused.
var refusals = map[int]error{
	http.StatusGone:               ErrExpelled,
	http.StatusConflict:           ErrForeignData,
	http.StatusMisdirectedRequest: ErrOtherCluster,
}

const (
	headerInstance = "X-Witan-Instance"
	headerBoots    = "X-Witan-Boots"
)

func (o Origin) set(h http.Header) {
	h.Set(headerInstance, Target(o.Instance))
	h.Set(headerBoots, strconv.FormatUint(o.Boots, 10))
}

func originOf(h http.Header) (Origin, error) {
	instance, err := parseTarget(h.Get(headerInstance))
	if err != nil {
		return Origin{}, fmt.Errorf("%s: %w", headerInstance, err)
	}
	boots, err := strconv.ParseUint(h.Get(headerBoots), 10, 64)
	if err != nil {
		return Origin{}, fmt.Errorf("%s: %w", headerBoots, err)
	}
	return Origin{Instance: instance, Boots: boots}, nil
}

// refuse answers a raft connection that is not taken.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusPreconditionFailed
	for s, reason := range refusals {
		if errors.Is(err, reason) {
			status = s
		}
	}
	http.Error(w, err.Error(), status)
}

// refusal is the error of a raft connection that was not taken.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // a reason for the log, nothing more
	reason := strings.TrimSpace(string(text))
	if err, ok := refusals[resp.StatusCode]; ok {
		return fmt.Errorf("%w: %s", err, strings.TrimPrefix(reason, err.Error()+": "))
	}
	return fmt.Errorf("refused: %s: %s", resp.Status, reason)
}

// admit checks the member at the other end of a connection.
func (t *Transport) admit(member uint64, h http.Header) error {
	o, err := originOf(h)
	if err != nil || t.cfg.Admit == nil {
		return err
	}
	return t.cfg.Admit(member, o)
}

// Recheck closes the connections of members that are no longer admitted.
func (t *Transport) Recheck() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for in := range t.open {
		if t.cfg.Admit != nil && t.cfg.Admit(in.from, in.origin) != nil {
			in.conn.Close()
		}
	}
}
