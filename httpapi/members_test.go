package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/clustertest"
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

// Clients that follow GET /v2/members and /v2/machines, as python-etcd and
// Patroni do, see at once what they have asked of the member they ask, and
// before long what others have asked of another.
func TestMembersComeAndGo(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Members: 3, Groups: 4})
	one, two := "http://"+serve(t, c.Nodes[0], httpapi.Config{}), "http://"+serve(t, c.Nodes[1], httpapi.Config{})
	status, text := sendJSON(t, http.MethodPost, one+"/v2/members", `{"peerURLs":["http://127.0.0.1:1"]}`)
	var added struct{ ID string }
	if err := json.Unmarshal([]byte(text), &added); err != nil || status != http.StatusCreated {
		t.Fatalf("add: %d %s", status, text)
	}
	id := added.ID
	entry := `{"id":"` + id + `","name":"","peerURLs":["http://127.0.0.1:1"],"clientURLs":[]}`
	expectMembers(t, one, 4, entry)
	clustertest.Eventually(t, "the other member lists it", func() bool { return strings.Contains(getText(t, two+"/v2/members"), entry) })
	expectMachines(t, one, "http://127.0.0.1:1000, http://127.0.0.1:1001, http://127.0.0.1:1002")

	if status, text := sendJSON(t, http.MethodPut, two+"/v2/members/"+id, `{"peerURLs":["http://127.0.0.1:2"]}`); status != http.StatusNoContent {
		t.Errorf("update: %d %s", status, text)
	}
	expectMembers(t, two, 4, strings.Replace(entry, "127.0.0.1:1", "127.0.0.1:2", 1))
	for _, leaving := range []string{id, formatID(c.Nodes[2])} {
		if status, text := sendJSON(t, http.MethodDelete, one+"/v2/members/"+leaving, ""); status != http.StatusNoContent {
			t.Fatalf("remove %s: %d %s", leaving, status, text)
		}
		if status, text := sendJSON(t, http.MethodDelete, one+"/v2/members/"+leaving, ""); status != http.StatusGone {
			t.Errorf("remove %s again: %d %s", leaving, status, text)
		}
	}
	expectMembers(t, one, 2, "")
	expectMachines(t, one, "http://127.0.0.1:1000, http://127.0.0.1:1001")
	clustertest.Eventually(t, "the removed member knows", func() bool {
		select {
		case <-c.Nodes[2].Removed():
			return true
		default:
			return false
		}
	})
}

func formatID(n *cluster.Node) string { return strconv.FormatUint(n.Status().ID, 16) }

func getText(t *testing.T, url string) string {
	t.Helper()
	status, text := sendJSON(t, http.MethodGet, url, "")
	if status != http.StatusOK {
		t.Errorf("GET %s: %d %s", url, status, text)
	}
	return text
}

// expectMembers wants count members listed, one of them as entry says.
func expectMembers(t *testing.T, base string, count int, entry string) {
	t.Helper()
	text := getText(t, base+"/v2/members")
	if n := strings.Count(text, `"id":`); n != count || !strings.Contains(text, entry) {
		t.Errorf("got %d members, want %d, one of them %s:\n%s", n, count, entry, text)
	}
}

func expectMachines(t *testing.T, base, want string) {
	t.Helper()
	if got := getText(t, base+"/v2/machines"); got != want {
		t.Errorf("machines: got %q, want %q", got, want)
	}
}
