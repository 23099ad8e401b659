package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/witan-kv/witan/store"
)

// storeStats is /v2/stats/store: how often each operation went well and how
// often it did not, on this member since it started (contract §4.3).
type storeStats struct {
	GetsSuccess             uint64 `json:"getsSuccess"`
	GetsFail                uint64 `json:"getsFail"`
	SetsSuccess             uint64 `json:"setsSuccess"`
	SetsFail                uint64 `json:"setsFail"`
	DeleteSuccess           uint64 `json:"deleteSuccess"`
	DeleteFail              uint64 `json:"deleteFail"`
	UpdateSuccess           uint64 `json:"updateSuccess"`
	UpdateFail              uint64 `json:"updateFail"`
	CreateSuccess           uint64 `json:"createSuccess"`
	CreateFail              uint64 `json:"createFail"`
	CompareAndSwapSuccess   uint64 `json:"compareAndSwapSuccess"`
	CompareAndSwapFail      uint64 `json:"compareAndSwapFail"`
	CompareAndDeleteSuccess uint64 `json:"compareAndDeleteSuccess"`
	CompareAndDeleteFail    uint64 `json:"compareAndDeleteFail"`
	ExpireCount             uint64 `json:"expireCount"`
	Watchers                uint64 `json:"watchers"`
}

func (t *storeStats) add(s store.Stats) {
	t.GetsSuccess += s.GetsSuccess
	t.GetsFail += s.GetsFail
	t.SetsSuccess += s.SetsSuccess
	t.SetsFail += s.SetsFail
	t.DeleteSuccess += s.DeleteSuccess
	t.DeleteFail += s.DeleteFail
	t.UpdateSuccess += s.UpdateSuccess
	t.UpdateFail += s.UpdateFail
	t.CreateSuccess += s.CreateSuccess
	t.CreateFail += s.CreateFail
	t.CompareAndSwapSuccess += s.CompareAndSwapSuccess
	t.CompareAndSwapFail += s.CompareAndSwapFail
	t.CompareAndDeleteSuccess += s.CompareAndDeleteSuccess
	t.CompareAndDeleteFail += s.CompareAndDeleteFail
	t.ExpireCount += s.ExpireCount
}

// handleStoreStats sums the operations of all key groups.
func (s *Server) handleStoreStats(w http.ResponseWriter, _ *http.Request) {
	status := s.backend.Status()
	total := storeStats{Watchers: uint64(status.Watchers)}
	for _, g := range status.Groups {
		total.add(g.Keys)
	}
	writeJSON(w, http.StatusOK, total, "")
}

// selfStats is /v2/stats/self. Raft messages travel in batches that carry many
// groups, and nobody counts the appends among them: the two counters stay 0.
type selfStats struct {
	Name                 string     `json:"name"`
	ID                   string     `json:"id"`
	State                string     `json:"state"`
	StartTime            time.Time  `json:"startTime"`
	LeaderInfo           leaderInfo `json:"leaderInfo"`
	RecvAppendRequestCnt uint64     `json:"recvAppendRequestCnt"`
	SendAppendRequestCnt uint64     `json:"sendAppendRequestCnt"`
}

type leaderInfo struct {
	Leader    string    `json:"leader"`
	Uptime    string    `json:"uptime"`
	StartTime time.Time `json:"startTime"`
}

// handleSelfStats tells who this member is and whom it follows.
func (s *Server) handleSelfStats(w http.ResponseWriter, _ *http.Request) {
	status := s.backend.Status()
	state := "StateFollower"
	if status.Leader == status.ID {
		state = "StateLeader"
	}
	leader := leaderInfo{Leader: formatID(status.Leader), Uptime: "0s", StartTime: status.LeaderSince}
	if status.Leader != 0 {
		leader.Uptime = s.config.Now().Sub(status.LeaderSince).String()
	}
	writeJSON(w, http.StatusOK, selfStats{
		Name: status.Name, ID: formatID(status.ID), State: state, StartTime: status.StartTime, LeaderInfo: leader,
	}, "")
}

// handleLeaderStats answers on the leader only. Latencies of followers are not
// measured, so it lists none.
func (s *Server) handleLeaderStats(w http.ResponseWriter, _ *http.Request) {
	status := s.backend.Status()
	if status.Leader != status.ID {
		writeMessage(w, http.StatusForbidden, "not current leader")
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Leader    string   `json:"leader"`
		Followers struct{} `json:"followers"`
	}{Leader: formatID(status.ID)}, "")
}

// groupStats is one key group in /v2/stats/groups. Replicas of a group that
// have applied the same raftIndex have the same hash.
type groupStats struct {
	Group     int      `json:"group"`
	Leader    string   `json:"leader"`
	Term      uint64   `json:"term"`
	RaftIndex uint64   `json:"raftIndex"`
	Index     uint64   `json:"index"`
	Hash      string   `json:"hash"`
	Voters    []string `json:"voters"`
}

// metaStats is the group that knows the members.
type metaStats struct {
	Leader string   `json:"leader"`
	Term   uint64   `json:"term"`
	Voters []string `json:"voters"`
}

// handleGroupStats shows this member's replica of each key group, who makes
// the groups' quorums as far as it knows, and the closed index (design §3).
func (s *Server) handleGroupStats(w http.ResponseWriter, _ *http.Request) {
	status := s.backend.Status()
	groups := []groupStats{}
	for _, g := range status.Groups {
		groups = append(groups, groupStats{
			Group: g.Group, Leader: formatID(g.Leader), Term: g.Term,
			RaftIndex: g.RaftIndex, Index: g.Index, Hash: strconv.FormatUint(g.Hash, 16), Voters: formatIDs(g.Voters),
		})
	}
	writeJSON(w, http.StatusOK, struct {
		ClosedIndex uint64       `json:"closedIndex"`
		Groups      []groupStats `json:"groups"`
		Meta        metaStats    `json:"meta"`
	}{status.ClosedIndex, groups, metaStats{formatID(status.Meta.Leader), status.Meta.Term, formatIDs(status.Meta.Voters)}}, "")
}

func formatIDs(ids []uint64) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, formatID(id))
	}
	return out
}
