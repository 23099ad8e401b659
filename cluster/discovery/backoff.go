package discovery

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

const (
	firstPause = 2 * time.Second
	// longestPause bounds the pauses and not the number of attempts: whoever
	// repairs the network should not have to wait for minutes afterwards, or to
	// start every member again. (etcd goes up to 256 s.)
	longestPause = 32 * time.Second
)

// backoff pauses between attempts, each time twice as long.
type backoff struct {
	log   zerolog.Logger
	first time.Duration // the pause after the first failure
	next  time.Duration // 0 = first
}

// wait reports why an attempt failed and returns when it is time for the next.
// It fails when ctx ends.
func (b *backoff) wait(ctx context.Context, failure error) error {
	if b.next == 0 {
		b.next = b.first
	}
	b.log.Warn().Err(failure).Stringer("pause", b.next).Msg("discovery does not get on and will try again")
	if err := sleep(ctx, b.next); err != nil {
		return err
	}
	b.next = min(2*b.next, longestPause)
	return nil
}

// reset is for an attempt that succeeded.
func (b *backoff) reset() { b.next = 0 }

// sleep fails when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
