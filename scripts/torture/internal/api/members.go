package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Member is one entry of /v2/members. Name is empty until it has started.
type Member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// Verdict is what a member said to a membership change.
type Verdict struct {
	Status  int
	Message string // of a refusal
	Member  Member // of an addition
}

// String is the verdict on one line.
func (v Verdict) String() string { return fmt.Sprintf("%d %s", v.Status, v.Message) }

// Admin asks one member for the members and for changes of them (contract §4.1). It retries nothing.
type Admin struct {
	Base    string
	Timeout time.Duration
}

// Members lists them as this member sees them.
func (a Admin) Members(ctx context.Context) ([]Member, error) {
	var answer struct {
		Members []Member `json:"members"`
	}
	status, text, err := a.call(ctx, http.MethodGet, "", nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("api: members of %s: status %d: %s", a.Base, status, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("api: members of %s: %w", a.Base, err)
	}
	return answer.Members, nil
}

// Add asks for a new member. An error means that no whole answer came: it may have been added or not.
func (a Admin) Add(ctx context.Context, peerURL string) (Verdict, error) {
	return a.change(ctx, http.MethodPost, "", peerURLs(peerURL))
}

// Update tells where a member will serve its peers from now on.
func (a Admin) Update(ctx context.Context, id, peerURL string) (Verdict, error) {
	return a.change(ctx, http.MethodPut, "/"+id, peerURLs(peerURL))
}

func peerURLs(url string) []byte {
	body, _ := json.Marshal(map[string][]string{"peerURLs": {url}}) // strings always can
	return body
}

// Remove asks for a member's removal.
func (a Admin) Remove(ctx context.Context, id string) (Verdict, error) {
	return a.change(ctx, http.MethodDelete, "/"+id, nil)
}

func (a Admin) change(ctx context.Context, method, path string, body []byte) (Verdict, error) {
	status, text, err := a.call(ctx, method, path, body)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Status: status}
	if status == http.StatusCreated {
		if err := json.Unmarshal(text, &v.Member); err != nil {
			return v, fmt.Errorf("api: %s answers %q: %w", a.Base, text, err)
		}
		return v, nil
	}
	var refusal struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &refusal) != nil {
		refusal.Message = string(text)
	}
	v.Message = refusal.Message
	return v, nil
}

func (a Admin) call(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.Base+"/v2/members"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("api: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("api: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("api: %s %s: %w", method, a.Base, err)
	}
	return resp.StatusCode, text, nil
}
