package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"
)

// metaAttempt is how long one try of a proposal to the meta group waits. One
// that is forwarded to a leader that is gone is never answered (engine §0.10).
const metaAttempt = 2 * time.Second

// proposeMeta puts a command into the meta group's log and returns what became
// of it once this member has applied it, or why it was refused. Commands are
// made so that doing one twice does no harm, so it is tried until the request's time is over.
func (n *Node) proposeMeta(ctx context.Context, cmd *metaCommand) (outcome, error) {
	data, err := json.Marshal(cmd)
	if err != nil {
		return outcome{}, fmt.Errorf("cluster: %w", err)
	}
	g := &n.metaGroup
	ctx, cancel := context.WithTimeoutCause(ctx, g.timeout, ErrTimeout)
	defer cancel()
	for tries := 1; ; tries++ {
		o, err := g.proposeOnce(ctx, data)
		switch {
		case err == nil && cmd.Op == opRemove && o.verdict == memberRemoved && tries > 1:
			return outcome{verdict: done}, nil // by an earlier try
		case err == nil:
			return o, o.err()
		case !errors.Is(err, errAgain):
			return outcome{}, err
		case ctx.Err() != nil:
			return outcome{}, context.Cause(ctx)
		}
	}
}

// proposeOnce proposes once. It returns errAgain when trying again may help.
func (g *raftGroup) proposeOnce(ctx context.Context, data []byte) (outcome, error) {
	_, _, changed := g.lead.now()
	attempt, cancel := context.WithTimeout(ctx, metaAttempt)
	defer cancel()
	res, err := g.nh.SyncPropose(attempt, g.session, data)
	switch {
	case err == nil:
		return decodeOutcome(res)
	case errors.Is(err, dragonboat.ErrTimeout), errors.Is(err, dragonboat.ErrCanceled),
		errors.Is(err, dragonboat.ErrTimeoutTooSmall), errors.Is(err, dragonboat.ErrInvalidDeadline): // the last two: no time is left
		return outcome{}, errAgain
	case errors.Is(err, dragonboat.ErrSystemBusy), errors.Is(err, dragonboat.ErrShardNotReady):
		return outcome{}, g.pause(ctx, nil, changed)
	case errors.Is(err, dragonboat.ErrClosed), errors.Is(err, dragonboat.ErrShardClosed), errors.Is(err, dragonboat.ErrShardNotFound):
		return outcome{}, ErrStopped
	}
	return outcome{}, fmt.Errorf("cluster: propose to the meta group: %w", err)
}
