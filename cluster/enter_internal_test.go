package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A process that was told of a cluster must not found one when the others fall
// silent again: it would be refused for ever.
func TestMistakenFounderFoundsNothing(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name, cfg.DataDir, cfg.Join, cfg.ReplaceLostSelf, cfg.Logger = "b", t.TempDir(), JoinAuto, true, zerolog.New(zerolog.NewTestWriter(t))
	cfg.InitialCluster = []Peer{{"a", []string{"http://127.0.0.1:1"}}, {"b", []string{"http://127.0.0.1:2"}}}
	cfg.AdvertisePeerURLs = []string{"http://127.0.0.1:2"}
	n := &Node{cfg: cfg, log: cfg.Logger}
	if id, err := n.enterEither(t.Context()); err != nil || id == nil {
		t.Fatalf("a founder nobody answers: %v", err)
	}
	n.cfg.mistaken = true
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if id, err := n.enterEither(ctx); err == nil {
		t.Errorf("it founds a cluster as %x", id.MemberID)
	}
}
