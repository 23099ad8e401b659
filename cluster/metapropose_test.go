package cluster_test

import (
	"errors"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
)

// Without a quorum a membership change ends with the request's time, and says so.
func TestChangeWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Members: 3})
	c.Stop(1)
	c.Stop(2)
	err := c.Nodes[0].UpdateMember(t.Context(), c.Nodes[0].Status().ID, []string{"http://127.0.0.1:1"})
	if !errors.Is(err, cluster.ErrTimeout) {
		t.Errorf("got %v, want %v", err, cluster.ErrTimeout)
	}
}
