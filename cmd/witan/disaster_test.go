package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startMembers starts a cluster of which the members' data directories, in
// dirs, may be there already.
func startMembers(t *testing.T, settings [][]string, dirs []string, flags ...string) []*process {
	t.Helper()
	members := make([]*process, len(dirs))
	for i, dir := range dirs {
		members[i] = launch(t, dir, append(settings[i], flags...)...)
	}
	ready(t, members)
	return members
}

// membersNamed returns the flags of the members of a new cluster.
func membersNamed(t *testing.T, names ...string) [][]string {
	t.Helper()
	var settings [][]string
	var all []string
	for _, name := range names {
		f := append(peerFlags(t, name), clientFlags(t)...)
		settings, all = append(settings, f), append(all, name+"="+f[3])
	}
	for i := range settings {
		settings[i] = append(settings[i], "--initial-cluster", strings.Join(all, ","))
	}
	return settings
}

// diary is what a cluster has answered: the indexes of a key's values, in order.
type diary struct {
	mu   sync.Mutex
	keys map[string][]uint64
}

// write sets keys through a member until stop. The value of a key is the
// number of times it was set.
func (d *diary) write(t *testing.T, base, dir string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("/%s%d/k%d", dir, i%7, i%40)
		d.mu.Lock()
		value := strconv.Itoa(len(d.keys[key]) + 1)
		d.mu.Unlock()
		code, body := put(t, base, key, value)
		var answer struct {
			Node struct{ ModifiedIndex uint64 }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code/100 != 2 {
			t.Errorf("%s: %d %s", key, code, body)
			return
		}
		d.mu.Lock()
		d.keys[key] = append(d.keys[key], answer.Node.ModifiedIndex)
		d.mu.Unlock()
	}
}

func (d *diary) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, indexes := range d.keys {
		n += len(indexes)
	}
	return n
}

// compare looks up every key as it was right after index.
func (d *diary) compare(t *testing.T, base string, index uint64) {
	t.Helper()
	for key, indexes := range d.keys {
		set := 0
		for set < len(indexes) && indexes[set] <= index {
			set++
		}
		code, body := get(t, base+"/v2/keys"+key)
		if set == 0 {
			if code != http.StatusNotFound {
				t.Errorf("%s: %d %s", key, code, body)
			}
			continue
		}
		want := fmt.Sprintf(`"value":"%d","modifiedIndex":%d,`, set, indexes[set-1])
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", key, code, body, want)
		}
	}
}

// hashes returns the log positions and hashes of a member's groups.
func hashes(t *testing.T, base string) string {
	t.Helper()
	_, body := get(t, base+"/v2/stats/groups")
	var stats struct {
		Groups []struct {
			RaftIndex uint64
			Hash      string
		}
	}
	if err := json.Unmarshal([]byte(body), &stats); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return fmt.Sprint(stats.Groups)
}

func sameHashes(t *testing.T, members ...*process) {
	t.Helper()
	eventually(t, "all members have the same", func() bool {
		for _, m := range members[1:] {
			if hashes(t, m.url) != hashes(t, members[0].url) {
				return false
			}
		}
		return true
	})
}

// TestDisaster takes a backup of three members under load, makes clusters of
// other shapes of it, and goes on with one of the three.
func TestDisaster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	settings, dirs := membersNamed(t, "a", "b", "c"), []string{t.TempDir(), t.TempDir(), t.TempDir()}
	members := startMembers(t, settings, dirs, "--groups", "4")
	d := &diary{keys: map[string][]uint64{}}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i, m := range members {
		writers.Go(func() { d.write(t, m.url, string(rune('p'+i)), stop) })
	}
	eventually(t, "enough is written", func() bool { return d.count() > 400 || t.Failed() })
	file := filepath.Join(t.TempDir(), "b.wbk")
	index := download(t, members[1].url, file)
	more := d.count() + 200
	eventually(t, "more is written", func() bool { return d.count() > more || t.Failed() })
	close(stop)
	writers.Wait()

	t.Run("restore into one member", func(t *testing.T) {
		restoreInto(t, d, file, index, "3", "x")
	})
	t.Run("restore into three members", func(t *testing.T) {
		restoreInto(t, d, file, index, "2", "x", "y", "z")
	})
	t.Run("go on with one", func(t *testing.T) {
		sameHashes(t, members...)
		members[1].stop(t, syscall.SIGKILL)
		members[2].stop(t, syscall.SIGKILL)
		members[0].stop(t, syscall.SIGTERM)
		alone := startMembers(t, settings[:1], dirs[:1], "--force-new-cluster")[0]
		d.compare(t, alone.url, 1<<62)
		if _, body := get(t, alone.url+"/v2/members"); strings.Count(body, `"id"`) != 1 {
			t.Errorf("members: %s", body)
		}
		if code, body := put(t, alone.url, "/p0/alone", "yes"); code != http.StatusCreated {
			t.Errorf("%d %s", code, body)
		}
		// One that comes back is told that it is out, and ends well.
		back := launch(t, dirs[1], settings[1]...)
		select {
		case <-back.done:
		case <-time.After(patience):
			t.Fatal("an old member stays")
		}
		if code := back.cmd.ProcessState.ExitCode(); code != exitOK || !strings.Contains(back.logged(), "permanently removed") {
			t.Errorf("it ended with %d", code)
		}
	})
}

// download saves a backup and returns its index.
func download(t *testing.T, base, path string) uint64 {
	t.Helper()
	resp, err := http.Get(base + "/v2/backup")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, resp.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	index, err := strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return index
}

// restoreInto makes a cluster of a backup, compares it, and adds a member.
func restoreInto(t *testing.T, d *diary, file string, index uint64, groups string, names ...string) {
	settings := membersNamed(t, names...)
	var dirs []string
	for _, s := range settings {
		dir := filepath.Join(t.TempDir(), "data")
		dirs = append(dirs, dir)
		args := append([]string{"restore", "--from", file, "--data-dir", dir, "--groups", groups}, s...)
		if out, err := exec.Command("witan", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	members := startMembers(t, settings, dirs)
	for _, m := range members {
		d.compare(t, m.url, index)
	}
	sameHashes(t, members...)

	added := append(peerFlags(t, "added"), clientFlags(t)...)
	if code, body := post(t, members[0].url+"/v2/members", `{"peerURLs":["`+added[3]+`"]}`); code != http.StatusCreated {
		t.Fatalf("add a member: %d %s", code, body)
	}
	known := settings[0][len(settings[0])-1] // of --initial-cluster
	added = append(added, "--initial-cluster-state", "existing", "--initial-cluster", known+",added="+added[3])
	m := startProcess(t, t.TempDir(), added...)
	d.compare(t, m.url, index)
	put(t, m.url, "/p0/added", "yes")
	sameHashes(t, append(members, m)...)
}
