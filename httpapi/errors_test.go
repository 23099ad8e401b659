package httpapi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/store"
)

// Every number that could be a code, by the rule of contract §3.1.
func TestStatusOfEveryCode(t *testing.T) {
	special := map[store.Code]int{100: 404, 101: 412, 105: 412, 102: 403, 108: 403, 110: 401, 300: 500}
	for code := store.Code(0); code < 1000; code++ {
		if code == 301 {
			continue // defined by etcd, sent by nobody, unknown to store
		}
		want := special[code]
		if want == 0 {
			want = 400
		}
		if got := statusOf(code); got != want {
			t.Errorf("code %d: got %d, want %d", code, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("cluster: propose: %w", err) }
	tests := []struct {
		err    error
		status int
		want   store.Error
	}{
		{wrap(&store.Error{Code: 100, Cause: "/a", Index: 7}), 404, store.Error{Code: 100, Cause: "/a", Index: 7}},
		{wrap(cluster.ErrTimeout), 500, store.Error{Code: 300, Cause: "etcdserver: request timed out"}},
		{wrap(cluster.ErrTimeoutLeader), 500, store.Error{Code: 300, Cause: "etcdserver: request timed out, possibly due to previous leader failure"}},
		{wrap(cluster.ErrStopped), 500, store.Error{Code: 300, Cause: "etcdserver: server stopped"}},
		{wrap(cluster.ErrReadOnly), 500, store.Error{Code: 300, Cause: cluster.ErrReadOnly.Error()}},
		{wrap(cluster.ErrIndexTooHigh), 400, store.Error{Code: 203, Cause: cluster.ErrIndexTooHigh.Error()}},
		{context.Canceled, 500, store.Error{Code: 300, Cause: "context canceled"}},
		{errors.New("disk on fire"), 500, store.Error{Code: 300, Cause: "disk on fire"}},
		{&tooLargeError{paramValue, 11, 10}, 413, store.Error{Code: 210, Cause: "the value is 11 bytes, more than --max-value-bytes 10 allows"}},
	}
	s := &Server{log: zerolog.Nop()}
	for _, tt := range tests {
		if status, e := s.explain(tt.err); status != tt.status || *e != tt.want {
			t.Errorf("%v: got %d %+v, want %d %+v", tt.err, status, *e, tt.status, tt.want)
		}
	}
}
