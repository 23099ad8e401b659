package peer

import (
	"testing"

	pb "github.com/lni/dragonboat/v4/raftpb"
)

// A replica may be unable to stand in the moment in which it is asked to.
func TestTimeoutNowComesAgain(t *testing.T) {
	a, b := pair(t)
	batch := batchFrom(alice, bob, 7)
	batch.Requests = append(batch.Requests, pb.Message{Type: pb.TimeoutNow, From: alice, To: bob, ShardID: 3, Term: 7})
	conn, err := a.GetConnection(t.Context(), Target(bob))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SendMessageBatch(batch); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, b.messages); len(got.Requests) != 2 {
		t.Fatalf("%d messages came of 2", len(got.Requests))
	}
	for range 3 {
		if got := receive(t, b.messages); len(got.Requests) != 1 || got.Requests[0].Type != pb.TimeoutNow {
			t.Fatalf("came again: %v", got.Requests)
		}
	}
}
