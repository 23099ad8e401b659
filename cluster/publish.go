package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// catchUp waits until this member has everything that was committed when it
// started, so that nobody reads what was current before it stopped, and tells
// the others its name and where its clients find it.
func (n *Node) catchUp(ctx context.Context) error {
	wanted, stop := n.whileWanted(ctx)
	defer stop()
	for {
		err := n.catchUpOnce(wanted)
		switch {
		case err == nil:
			return nil
		case wanted.Err() != nil:
			return context.Cause(wanted)
		case errors.Is(err, ErrStopped):
			return n.awaitExpulsion(wanted)
		case isAny(err, ErrExpelled, errOtherInstance, errRolledBack):
			return err
		}
		n.log.Info().Err(err).Msg("waiting for a quorum of members")
	}
}

// awaitExpulsion is for a member one of whose replicas has stopped while it was
// catching up: its group has let go of it. It asks until somebody says that
// all have, which may be after the next leader of some group is elected.
func (n *Node) awaitExpulsion(wanted context.Context) error {
	for !n.probe(wanted) {
		select {
		case <-time.After(reconcileRetry):
		case <-wanted.Done():
			return context.Cause(wanted)
		case <-n.stopping:
			return ErrStopped
		}
	}
	return n.expelledError()
}

func (n *Node) catchUpOnce(ctx context.Context) error {
	if err := readIndexes(ctx, n.raftGroups()); err != nil {
		return fmt.Errorf("cluster: catch up: %w", err)
	}
	if err := n.sealLogs(ctx); err != nil {
		return err
	}
	_, err := n.proposeMeta(ctx, &metaCommand{
		Op: opPublish, ID: n.id.MemberID, Name: n.cfg.Name, ClientURLs: slices.Sorted(slices.Values(n.cfg.AdvertiseClientURLs)),
		Instance: n.id.Instance, Boots: n.id.Boots, Nonce: n.boot,
	})
	switch {
	case isAny(err, ErrMemberRemoved, ErrNoMember):
		return n.expelledError()
	case err != nil:
		return fmt.Errorf("cluster: publish this member: %w", err)
	}
	if n.published.Swap(true) {
		return nil
	}
	n.id.Published = true
	return n.id.save(n.cfg.DataDir)
}

// whileWanted returns a context that also ends when the others refuse this
// member, with the reason as its cause.
func (n *Node) whileWanted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-n.expelled:
			cancel(n.expelledError())
		case err := <-n.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-watching }
}

func (n *Node) expelledError() error {
	return fmt.Errorf("%w: %x", ErrExpelled, n.id.MemberID)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
