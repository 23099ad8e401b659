package discovery

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/cluster"
)

// TestJoin lets members come at once, with one group and with several. All
// see the same members in the same order; one more finds the cluster full.
func TestJoin(t *testing.T) {
	for _, groups := range []int{1, 4} {
		t.Run(strconv.Itoa(groups), func(t *testing.T) {
			f := &front{service: startService(t, groups)}
			u := strings.Replace(token(t, f.service, "3"), f.service, startFront(t, f), 1)
			var done []<-chan joined
			for i := range 3 {
				done = append(done, join(t, at(u), member(i)))
			}
			first := wait(t, done[0])
			if first.err != nil {
				t.Fatal(first.err)
			}
			for _, d := range done[1:] {
				got := wait(t, d)
				if diff := cmp.Diff(first.peers, got.peers); got.err != nil || diff != "" {
					t.Errorf("%v\n%s", got.err, diff)
				}
			}
			all := slices.SortedFunc(slices.Values(first.peers), func(a, b cluster.Peer) int { return strings.Compare(a.Name, b.Name) })
			if diff := cmp.Diff([]cluster.Peer{member(0), member(1), member(2)}, all); diff != "" {
				t.Errorf("members:\n%s", diff)
			}

			before := len(f.requests())
			if got := wait(t, join(t, at(u), member(3))); !errors.Is(got.err, ErrFull) {
				t.Errorf("the fourth: %v", got.err)
			}
			if later := f.requests()[before:]; slices.ContainsFunc(later, func(r string) bool { return strings.HasPrefix(r, http.MethodPut) }) {
				t.Errorf("the fourth has registered: %q", later)
			}
			peers, err := Registered(t.Context(), at(u))
			if diff := cmp.Diff(first.peers, peers); err != nil || diff != "" {
				t.Errorf("registered: %v\n%s", err, diff)
			}
			// One of the three again: it is known.
			if got := wait(t, join(t, at(u), member(1))); got.err != nil || len(got.peers) != 3 {
				t.Errorf("once more: %v, %v", got.peers, got.err)
			}
		})
	}
}

// TestLateRegistration finds the place taken between looking and registering.
func TestLateRegistration(t *testing.T) {
	f := &front{service: startService(t, 1)}
	u := token(t, f.service, "1")
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			set(t, f.service, "TestLateRegistration/1", "other=http://10.0.0.9:2380")
		}
		return false
	}
	got := wait(t, join(t, at(strings.Replace(u, f.service, startFront(t, f), 1)), member(1)))
	if !errors.Is(got.err, ErrFull) {
		t.Errorf("%v, %v", got.peers, got.err)
	}
}

// TestRegisteredWaits expects a gateway to wait for the last member.
func TestRegisteredWaits(t *testing.T) {
	service := startService(t, 1)
	u := token(t, service, "2")
	set(t, service, "TestRegisteredWaits/1", "m1=http://10.0.0.1:2380")
	done := make(chan joined, 1)
	go func() {
		peers, err := Registered(t.Context(), at(u))
		done <- joined{peers, err}
	}()
	set(t, service, "TestRegisteredWaits/2", "m2=http://10.0.0.2:2380")
	got := wait(t, done)
	if diff := cmp.Diff([]cluster.Peer{member(1), member(2)}, got.peers); got.err != nil || diff != "" {
		t.Errorf("%v\n%s", got.err, diff)
	}
}

// TestBlindWatches joins although the service's watches see nothing: they end
// at once, empty or with an error.
func TestBlindWatches(t *testing.T) {
	service := startService(t, 1)
	for name, answer := range map[string]func(http.ResponseWriter){
		"empty": func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"too-old": func(w http.ResponseWriter) {
			http.Error(w, `{"errorCode":401,"message":"The event in requested index is outdated and cleared","index":9}`, http.StatusBadRequest)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &front{service: service, before: func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("wait") == "" {
					return false
				}
				answer(w)
				return true
			}}
			u := strings.Replace(token(t, service, "2"), service, startFront(t, f), 1)
			done := join(t, at(u), member(1))
			set(t, service, name+"/2", "m2=http://10.0.0.2:2380")
			if got := wait(t, done); got.err != nil || len(got.peers) != 2 {
				t.Errorf("%v, %v", got.peers, got.err)
			}
			if n := len(f.requests()); n > 100 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestMistakes starts members with tokens that nothing can come of.
func TestMistakes(t *testing.T) {
	service := startService(t, 1)
	for _, tt := range []struct {
		name, size string
		others     []string // registered already
		want       string
	}{
		{"no-size", "", nil, "discovery: size key not found: "},
		{"text-size", "three", nil, `/_config/size is "three" and not a number from 1 to 100`},
		{"no-members", "0", nil, "discovery: size key is bad: "},
		{"negative", "-1", nil, "discovery: size key is bad: "},
		{"huge", "1000000000", nil, "discovery: size key is bad: "},
		{"duplicate-name", "2", []string{"m1=http://10.0.0.9:2380"}, `discovery: found duplicate name: two members are called "m1"`},
		{"duplicate-url", "2", []string{"m2=http://10.0.0.2:2380,m2=http://10.0.0.1:2380"}, `"m2" and "m1" both have the peer URL http://10.0.0.1:2380`},
		{"https", "2", []string{"m2=https://10.0.0.2:2380"}, `member "m2" has the peer URL https://10.0.0.2:2380, and https needs certificates`},
		{"no-url", "2", []string{"m2"}, `"m2" is not the registration of a member`},
		{"no-port", "2", []string{"m2=http://10.0.0.2"}, `invalid peer URL: member "m2" has "http://10.0.0.2"`},
		{"two-names", "2", []string{"m2=http://h:1,m3=http://h:2"}, `"m2=http://h:1,m3=http://h:2" is not the registration of a member`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := service + directory + tt.name
			if tt.size != "" {
				u = token(t, service, tt.size)
			}
			for i, value := range tt.others {
				set(t, service, tt.name+"/"+strconv.Itoa(i), value)
			}
			got := wait(t, join(t, at(u), member(1)))
			if got.err == nil || !strings.Contains(got.err.Error(), tt.want) {
				t.Errorf("%v, want %q", got.err, tt.want)
			}
		})
	}
}

// TestDuplicateID registers two members that others could not tell apart.
func TestDuplicateID(t *testing.T) {
	service := startService(t, 1)
	u := token(t, service, "2")
	first, second := member(1), member(1)
	second.Name = "other"
	done := join(t, at(u), first)
	for end := time.Now().Add(patience); len(rollOf(t, u)) == 0; {
		if time.Now().After(end) {
			t.Fatal("the first does not register")
		}
	}
	got := wait(t, join(t, at(u), second))
	want := `is registered as "m1=http://10.0.0.1:2380", this member is "other=http://10.0.0.1:2380"`
	if got.err == nil || !strings.Contains(got.err.Error(), want) {
		t.Errorf("%v, want %q", got.err, want)
	}
	set(t, service, "TestDuplicateID/2", "m2=http://10.0.0.2:2380")
	if got := wait(t, done); got.err != nil {
		t.Error(got.err)
	}
}

func rollOf(t *testing.T, u string) []node {
	t.Helper()
	c, err := newClient(at(u))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r, err := c.survey(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return r.nodes
}

// FuzzParsePeers reads what anybody may have registered. What is accepted can
// be written again.
func FuzzParsePeers(f *testing.F) {
	f.Add("a=http://h:1,a=http://[::1]:2")
	f.Add("a=http://h:1")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, value string) {
		peers, err := parsePeers([]string{value})
		if err != nil {
			return
		}
		again, err := parsePeers([]string{describe(peers[0])})
		if err != nil || again[0].Name != peers[0].Name || len(again[0].URLs) != len(peers[0].URLs) {
			t.Errorf("%q became %v, then %v, %v", value, peers, again, err)
		}
	})
}
