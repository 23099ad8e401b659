package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
)

// sendJSON sends a request with a JSON body and returns the status and the body of its answer.
func sendJSON(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// A body of 64 KiB is read, a longer one is not.
func TestMemberBodySize(t *testing.T) {
	const limit = 64 << 10
	address := serve(t, newMember(t), httpapi.Config{})
	body := `{"peerURLs":["http://10.0.0.10:2380"]}`
	for size, want := range map[int]int{limit: http.StatusCreated, limit + 1: http.StatusRequestEntityTooLarge, 1 << 20: http.StatusRequestEntityTooLarge} {
		padded := body + strings.Repeat(" ", size-len(body))
		status, text := sendJSON(t, http.MethodPost, "http://"+address+"/v2/members", padded)
		if status != want {
			t.Errorf("%d bytes: got %d %s, want %d", size, status, text, want)
		}
		if tooLong := `{"message":"the body is longer than 65536 bytes"}`; want >= 400 && text != tooLong {
			t.Errorf("%d bytes: got %s, want %s", size, text, tooLong)
		}
	}
}

// A client that does not send the body it has promised is not waited for.
func TestMemberBodyLate(t *testing.T) {
	address := serveWith(t, newMember(t), func(s *httpapi.Server) { s.SetBodyTimeout(50 * time.Millisecond) })
	c, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	_, err = fmt.Fprint(c, "POST /v2/members HTTP/1.1\r\nHost: witan\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"message":"the body of the request took too long"}`; resp.StatusCode != http.StatusBadRequest || string(text) != want {
		t.Errorf("got %s %s, want 400 %s", resp.Status, text, want)
	}
}

// slowMember takes its time to add a member.
type slowMember struct {
	*member
	took time.Duration
}

func (m *slowMember) AddMember(ctx context.Context, peerURLs []string) (cluster.Member, error) {
	select {
	case <-ctx.Done():
		return cluster.Member{}, ctx.Err()
	case <-time.After(m.took):
		return m.member.AddMember(ctx, peerURLs)
	}
}

// The time for the body is not the time for the change.
func TestMemberBodyInTime(t *testing.T) {
	const limit = 50 * time.Millisecond
	address := serveWith(t, &slowMember{newMember(t), 4 * limit}, func(s *httpapi.Server) { s.SetBodyTimeout(limit) })
	status, text := sendJSON(t, http.MethodPost, "http://"+address+"/v2/members", `{"peerURLs":["http://10.0.0.10:2380"]}`)
	if status != http.StatusCreated {
		t.Errorf("got %d %s", status, text)
	}
}
