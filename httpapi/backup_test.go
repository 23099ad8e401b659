package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
	"github.com/witan-kv/witan/store"
)

func TestBackup(t *testing.T) {
	m := newMember(t)
	address := serve(t, m, httpapi.Config{})
	request(t, address, http.MethodPut, "/v2/keys/dir/a", "value=1")
	request(t, address, http.MethodPut, "/v2/keys/_hidden", "value=2")
	resp, body := request(t, address, http.MethodGet, "/v2/backup", "")
	for name, want := range map[string]string{
		"Content-Type": "application/zstd", "X-Etcd-Index": "5", "X-Etcd-Cluster-Id": "df8194e3a8c32",
		"Content-Disposition": `attachment; filename="witan-df8194e3a8c32-5.wbk"`,
	} {
		if got := resp.Header.Get(name); got != want || resp.StatusCode != http.StatusOK {
			t.Errorf("%d, %s: %q, want %q", resp.StatusCode, name, got, want)
		}
	}
	r, err := cluster.VerifyBackup(strings.NewReader(body))
	if err != nil || r.Nodes != 3 || r.Index != 5 {
		t.Errorf("%+v %v", r, err)
	}
	if resp, _ := request(t, address, http.MethodPost, "/v2/backup", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	m.fail(cluster.ErrTimeout)
	resp, body = request(t, address, http.MethodGet, "/v2/backup", "")
	if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "request timed out") || resp.Header.Get("Content-Disposition") != "" {
		t.Errorf("without a quorum: %d %s %v", resp.StatusCode, body, resp.Header)
	}
}

// fillUp writes more than the buffers of a connection hold.
func fillUp(t *testing.T, m *member) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	value := make([]byte, 1<<20)
	for i := range 32 {
		_, _ = random.Read(value)
		m.apply(store.Command{Op: store.OpSet, Key: store.ParseKey(fmt.Sprintf("/k%d", i)), Value: string(value)})
	}
}

// openBackup begins to read a backup.
func openBackup(t *testing.T, address string) io.ReadCloser {
	t.Helper()
	resp, err := http.Get("http://" + address + "/v2/backup")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return resp.Body
}

// TestBackupBreaksOff closes the store under a backup. What the client has
// got must not look like all of it.
func TestBackupBreaksOff(t *testing.T) {
	m := newMember(t)
	fillUp(t, m)
	body := openBackup(t, serve(t, m, httpapi.Config{}))
	defer body.Close()
	closed := make(chan error, 1)
	go func() { closed <- m.st.Close() }()
	eventually(t, "the store closes", func() bool { return errors.Is(m.st.Err(), store.ErrClosed) })
	if n, err := io.Copy(io.Discard, body); err == nil || n == 0 {
		t.Errorf("%d bytes and the end", n)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestBackupsAtOnce asks for one more than are made at a time, and lets the
// first ones go.
func TestBackupsAtOnce(t *testing.T) {
	m := newMember(t)
	fillUp(t, m)
	address := serve(t, m, httpapi.Config{})
	first, second := openBackup(t, address), openBackup(t, address)
	resp, body := request(t, address, http.MethodGet, "/v2/backup", "")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "2 backups") {
		t.Errorf("a third one: %d %s", resp.StatusCode, body)
	}
	if _, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil {
		t.Error(err)
	}
	first.Close()
	eventually(t, "there is room again", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v2/backup", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if n, err := io.Copy(io.Discard, second); err != nil || n < 32<<20 {
		t.Errorf("the other one: %d bytes, %v", n, err)
	}
	second.Close()
}
