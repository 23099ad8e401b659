package httpapi_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// member is a cluster of one without raft: commands go straight to a real
// store and its events to a real hub. What raft would add is latency, and
// failures, which a test asks for by name. Its clock stands still until told.
type member struct {
	st  *store.Store
	hub *watch.Hub

	mu        sync.Mutex // held over Apply and Publish
	raftIndex uint64
	members   []cluster.Member

	failMu  sync.Mutex
	failure error // what everything answers, if not nil
	panics  bool
}

var _ httpapi.Backend = (*member)(nil)

const (
	testClusterID = 0x0df819_4e3a8c32 // with a leading zero, which is not shown
	testMemberID  = 0x8e9e05c52164694d
)

var testNow = time.Date(2016, 1, 1, 0, 0, 0, 500_000_000, time.UTC)

func newMember(tb testing.TB) *member {
	tb.Helper()
	st, err := store.Open(store.Options{
		Dir: tb.TempDir(), Groups: 1, FirstIndex: 3, History: 1000, Logger: zerolog.Nop(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	m := &member{st: st, hub: watch.NewHub(st, st.Frontier(), 1<<20), raftIndex: 4, members: founders()}
	tb.Cleanup(func() {
		m.hub.Close()
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// serve starts a server for b that ends with the test, and returns its address.
func serve(tb testing.TB, b httpapi.Backend, c httpapi.Config) (address string) {
	tb.Helper()
	if c.Now == nil {
		c.Now = func() time.Time { return testNow }
	}
	return run(tb, httpapi.NewServer(b, c))
}

// serveWith is serve after set has changed what Config does not offer.
func serveWith(tb testing.TB, b httpapi.Backend, set func(*httpapi.Server)) (address string) {
	tb.Helper()
	s := httpapi.NewServer(b, httpapi.Config{})
	set(s)
	return run(tb, s)
}

func run(tb testing.TB, s *httpapi.Server) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			tb.Errorf("close the server: %v", err)
		}
		if err := <-served; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// fail makes everything answer err from now on; nil ends it.
func (m *member) fail(err error) {
	m.failMu.Lock()
	defer m.failMu.Unlock()
	m.failure = err
}

func (m *member) failing() error {
	m.failMu.Lock()
	defer m.failMu.Unlock()
	if m.panics {
		panic("the member was told to panic")
	}
	return m.failure
}

func (m *member) setPanics(on bool) {
	m.failMu.Lock()
	defer m.failMu.Unlock()
	m.panics = on
}

// advance moves the clock that TTLs are measured on.
func (m *member) advance(d time.Duration) {
	for ; d > 0; d -= store.Tick {
		clock, _ := m.st.Clock()
		m.apply(store.Command{Op: store.OpAdvance, Clock: clock, Step: int64(min(d, store.Tick))})
	}
}

func (m *member) apply(c store.Command) (store.Result, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raftIndex++
	r := m.st.Apply(m.raftIndex, &c)
	events := r.Expired
	if r.Event != nil {
		events = append(events, r.Event)
	}
	m.hub.Publish(r.Index, events...)
	return r, m.raftIndex
}

func (m *member) checkSeen(seen uint64) error {
	if seen > m.st.Frontier()+1_000_000 {
		return cluster.ErrIndexTooHigh
	}
	return m.failing()
}

func (m *member) Do(_ context.Context, c store.Command, seen uint64) (cluster.Answer, error) {
	if err := m.checkSeen(seen); err != nil {
		return cluster.Answer{}, err
	}
	c.Floor = seen
	r, raftIndex := m.apply(c)
	if r.Err != nil {
		return cluster.Answer{}, r.Err
	}
	return cluster.Answer{Event: r.Event, Index: r.Index, RaftIndex: raftIndex, Term: 2}, nil
}

func (m *member) Get(_ context.Context, r cluster.Read) (cluster.Answer, error) {
	if err := m.checkSeen(r.Seen); err != nil {
		return cluster.Answer{}, err
	}
	e, at, refused := m.st.Get(r.Key, r.Recursive)
	if refused != nil {
		return cluster.Answer{}, refused
	}
	return cluster.Answer{Event: e, Index: at.Index, RaftIndex: at.RaftIndex, Term: 2}, nil
}

func (m *member) Watch(_ context.Context, req watch.Request) (*watch.Watcher, cluster.Answer, error) {
	if err := m.failing(); err != nil {
		return nil, cluster.Answer{}, err
	}
	w, err := m.hub.Watch(req)
	if err != nil {
		return nil, cluster.Answer{}, err
	}
	_, raftIndex := m.st.Position()
	return w, cluster.Answer{Index: w.Index(), RaftIndex: raftIndex, Term: 2}, nil
}

func (m *member) Leader() (cluster.Member, bool) {
	if m.failing() != nil {
		return cluster.Member{}, false
	}
	return founders()[1], true
}

func (m *member) Status() cluster.Status {
	raftIndex, index, hash := m.st.Digest()
	s := cluster.Status{
		ClusterID: testClusterID, ID: testMemberID, Name: "default", Leader: testMemberID, Term: 2,
		StartTime: testNow.Add(-time.Minute), LeaderSince: testNow.Add(-45 * time.Second),
		ClosedIndex: index, Watchers: m.hub.Watchers(), Meta: cluster.MetaStatus{Leader: testMemberID, Term: 3},
		Groups: []cluster.GroupStatus{{
			Leader: testMemberID, Term: 2, RaftIndex: raftIndex, Index: index, Hash: hash, Voters: []uint64{testMemberID}, Keys: m.st.Stats(),
		}},
	}
	if m.failing() != nil {
		s.Leader, s.LeaderSince = 0, time.Time{}
	}
	return s
}

func (m *member) OpenBackup(context.Context) (*store.Backup, error) {
	if err := m.failing(); err != nil {
		return nil, err
	}
	return store.NewBackup([]*store.Store{m.st}, store.BackupInfo{
		ClusterID: testClusterID, Index: m.st.Frontier(), Groups: 1, Time: testNow, Version: "2.3.8",
	})
}

func (m *member) Healthy(context.Context) error { return m.failing() }

func (m *member) Caught() bool { return m.failing() == nil }
