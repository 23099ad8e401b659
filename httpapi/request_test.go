package httpapi

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/witan-kv/witan/store"
)

// TestCommand is the contract's table of operations (§1.2).
func TestCommand(t *testing.T) {
	now := time.Unix(1000, 5)
	key := store.ParseKey("/a")
	tests := []struct {
		method, query string
		want          store.Command
	}{
		{"PUT", "value=v", store.Command{Op: store.OpSet, Value: "v"}},
		{"PUT", "", store.Command{Op: store.OpSet}},
		{"PUT", "prevIndex=0&value=v", store.Command{Op: store.OpSet, Value: "v"}},
		{"PUT", "dir=true&value=v", store.Command{Op: store.OpSet, Dir: true}},
		{"PUT", "ttl=7", store.Command{Op: store.OpSet, HasTTL: true, TTL: 7, Expiration: 1007_000_000_005}},
		{"PUT", "ttl=0", store.Command{Op: store.OpSet, HasTTL: true, Expiration: 1000_000_000_005}},
		{"PUT", "ttl=", store.Command{Op: store.OpSet}},
		{"PUT", "refresh=true&ttl=1", store.Command{Op: store.OpSet, Refresh: true, HasTTL: true, TTL: 1, Expiration: 1001_000_000_005}},

		{"PUT", "prevExist=true&value=v", store.Command{Op: store.OpUpdate, Value: "v"}},
		{"PUT", "prevExist=true&dir=true&value=v", store.Command{Op: store.OpUpdate, Value: "v"}},
		{"PUT", "prevExist=true&prevIndex=0", store.Command{Op: store.OpUpdate}},
		{"PUT", "prevExist=true&refresh=1&ttl=1", store.Command{Op: store.OpUpdate, Refresh: true, HasTTL: true, TTL: 1, Expiration: 1001_000_000_005}},
		{"PUT", "prevExist=true&prevIndex=3&value=v", store.Command{Op: store.OpCompareAndSwap, Value: "v", PrevIndex: 3}},
		{"PUT", "prevExist=true&prevValue=x", store.Command{Op: store.OpCompareAndSwap, PrevValue: "x"}},
		{"PUT", "prevValue=x&prevIndex=3&dir=true", store.Command{Op: store.OpCompareAndSwap, PrevValue: "x", PrevIndex: 3}},
		{"PUT", "prevIndex=3&refresh=true&ttl=0", store.Command{
			Op: store.OpCompareAndSwap, PrevIndex: 3, Refresh: true, HasTTL: true, Expiration: 1000_000_000_005,
		}},
		{"PUT", "prevExist=false&value=v", store.Command{Op: store.OpCreate, Value: "v"}},
		{"PUT", "prevExist=false&prevIndex=3&prevValue=x", store.Command{Op: store.OpCreate}},
		{"PUT", "prevExist=false&refresh=true&ttl=0", store.Command{Op: store.OpCreate, HasTTL: true, Expiration: 1000_000_000_005}},

		{"POST", "value=v&prevExist=true&prevIndex=3&prevValue=x", store.Command{Op: store.OpCreateInOrder, Value: "v"}},
		{"POST", "dir=true&value=v", store.Command{Op: store.OpCreateInOrder, Dir: true}},

		{"DELETE", "", store.Command{Op: store.OpDelete}},
		{"DELETE", "dir=true", store.Command{Op: store.OpDelete, Dir: true}},
		{"DELETE", "recursive=true", store.Command{Op: store.OpDelete, Dir: true, Recursive: true}},
		{"DELETE", "prevExist=false&prevIndex=0", store.Command{Op: store.OpDelete}},
		{"DELETE", "prevIndex=3&recursive=true", store.Command{Op: store.OpCompareAndDelete, PrevIndex: 3}},
		{"DELETE", "prevValue=x&dir=true", store.Command{Op: store.OpCompareAndDelete, PrevValue: "x"}},
	}
	s := &Server{config: Config{MaxValueBytes: 100}}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.query, func(t *testing.T) {
			p, err := s.parseParams(formRequest(tt.method, tt.query, "", ""))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Key = key
			if diff := cmp.Diff(tt.want, p.command(tt.method, key, now), cmp.AllowUnexported(store.Key{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An expiration beyond what 64 bits can say must not come out in the past.
func TestExpirationDoesNotWrap(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := (math.MaxInt64 - now.UnixNano()) / int64(time.Second)
	for ttl, want := range map[int64]int64{
		0:            now.UnixNano(),
		last:         now.UnixNano() + last*int64(time.Second),
		last + 1:     math.MaxInt64,
		store.MaxTTL: now.UnixNano() + store.MaxTTL*int64(time.Second),
	} {
		if got := expiration(now, ttl); got != want {
			t.Errorf("ttl %d: got %d, want %d", ttl, got, want)
		}
	}
}

func TestSeen(t *testing.T) {
	s := &Server{config: Config{MaxValueBytes: 100}}
	for text, want := range map[string]uint64{"7": 7, "0": 0, "18446744073709551615": math.MaxUint64} {
		r := formRequest(http.MethodGet, "", "", "")
		r.Header.Set("X-Etcd-Index", text)
		if p, err := s.parseParams(r); err != nil || p.seen != want {
			t.Errorf("%s: got %d, %v", text, p.seen, err)
		}
	}
}
