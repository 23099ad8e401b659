package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// maxAnswer bounds what is read from a peer before it is known to be one.
const maxAnswer = 1 << 20

// Ask reads /members of the peer port at a URL.
func Ask(ctx context.Context, peerURL string) ([]Member, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peerURL+"/members", nil)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	defer resp.Body.Close()
	var members []Member
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswer)).Decode(&members); err != nil {
		return nil, fmt.Errorf("peer: members of %s: %w", peerURL, err)
	}
	return members, nil
}
