package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// healthTimeout is above what a member may take to find out (contract §4.5).
const healthTimeout = 2 * time.Second

// keepHealthy looks after the member that requests go to until ctx ends. One
// that can be reached and has lost the others answers reads from the past and
// writes with an error, and connecting to it goes well.
func (g *Gateway) keepHealthy(ctx context.Context) {
	t := time.NewTicker(max(g.config.FailureWait, time.Second))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			g.checkHealth(ctx)
		}
	}
}

// checkHealth sends those to the end of the line that are not well and stand
// before one that is. If none is well, no other is better.
func (g *Gateway) checkHealth(ctx context.Context) {
	candidates := g.line.candidates()
	if len(candidates) < 2 {
		return
	}
	var ill []url.URL
	for _, member := range candidates {
		err := g.health(ctx, member)
		if err == nil {
			for _, u := range ill {
				g.line.fail(u)
			}
			return
		}
		g.log.Debug().Err(err).Str("member", member.String()).Msg("a member is not healthy")
		ill = append(ill, member)
	}
}

func (g *Gateway) health(ctx context.Context, member url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	member.Path = "/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, member.String(), nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(nil, resp.Body, maxAnswerBytes)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", member.String(), resp.Status)
	}
	return nil
}
