package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lni/dragonboat/v4/raftio"
	"github.com/lni/dragonboat/v4/raftpb"

	"github.com/witan-kv/witan/cluster/peer"
	"github.com/witan-kv/witan/store"
)

// A store that is damaged is rebuilt from what another member has applied, or
// from this member's own log if that goes back to the first entry. Its raft
// log is untouched by that: votes and entries it has promised, it keeps. What
// another one has applied was committed, so it does not matter that it may
// lie behind the end of this member's log: the leader sends the entries in
// between, and the state machine has them already.
//
// A raft log that is damaged is another matter: see logwitness.go.

const (
	rebuildFor   = 20 * time.Second
	rebuildPause = 500 * time.Millisecond
)

// openStore opens the store of a key group, a new one in place of a damaged one if there is somewhere to rebuild it from.
func (n *Node) openStore(ctx context.Context, group int, o store.Options) (*store.Store, error) {
	o.Must = n.id.Started
	o.Room = n.space.makeRoom
	st, err := store.Open(o)
	if err == nil || !errors.Is(err, store.ErrDamaged) || !n.id.Started || n.server == nil {
		return st, err
	}
	if len(n.elsewhere()) == 0 && n.logWasCut(group) {
		return nil, fmt.Errorf("%w; no other member is there to rebuild it from, and the log does not go back to the beginning: "+
			"it is left as it is; look after the disk, or restore a backup (witan restore)", err)
	}
	n.log.Error().Err(err).Int("group", group).Str("kept", o.Dir+".damaged").Msg("the store of a group is damaged; it is set aside and rebuilt")
	if err := store.SetAside(o.Dir); err != nil {
		return nil, err
	}
	o.Rebuild = true
	if st, err = store.Open(o); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err = n.refill(ctx, group, st); err != nil {
		n.log.Warn().Err(err).Int("group", group).Msg("no other member gives the store of a group; its log is tried")
		return st, nil // startGroup finds out whether that is enough
	}
	if n.id.Rebuilt == nil {
		n.id.Rebuilt = map[int]uint64{}
	}
	n.id.Rebuilt[group] = st.Applied()
	if err := n.id.save(n.cfg.DataDir); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	n.log.Info().Int("group", group).Uint64("raftIndex", st.Applied()).Dur("took", time.Since(begin)).Msg("the store of a group was rebuilt from another member's")
	return st, nil
}

// logWasCut reports whether there is a snapshot of a group, so that its log does not begin with the first entry.
func (n *Node) logWasCut(group int) bool {
	of := fmt.Sprintf("snapshot-%d-%d", keyShard(group), n.id.MemberID)
	found, err := filepath.Glob(filepath.Join(n.cfg.DataDir, raftDir, "*", "*", "snapshot-part-*", of, "snapshot-*"))
	return err != nil || len(found) > 0
}

// refill fills a store with what another member has, whichever gives it first.
func (n *Node) refill(ctx context.Context, group int, st *store.Store) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rebuildFor, errors.New("cluster: none was ready in time"))
	defer cancel()
	urls := n.elsewhere()
	q := peer.StoreRequest{
		Cluster: n.id.ClusterID, Member: n.id.MemberID, Group: group,
		Origin: peer.Origin{Instance: n.id.Instance, Boots: n.id.Boots},
	}
	failure := errors.New("cluster: no other member is known")
	for len(urls) > 0 {
		for _, u := range slices.Clone(urls) {
			err := fetchStore(ctx, u, q, st)
			if err == nil {
				return nil
			}
			if failure = fmt.Errorf("cluster: rebuild by way of %s: %w", u, err); errors.As(err, new(*peer.RefusedError)) {
				urls = slices.DeleteFunc(urls, func(other string) bool { return other == u })
			}
		}
		select {
		case <-time.After(rebuildPause):
		case <-ctx.Done():
			return errors.Join(failure, context.Cause(ctx))
		}
	}
	return failure
}

func fetchStore(ctx context.Context, url string, q peer.StoreRequest, st *store.Store) error {
	in, err := peer.FetchStore(ctx, url, q)
	if err != nil {
		return err
	}
	defer in.Close()
	return st.Restore(in, ctx.Done())
}

// elsewhere are the peer URLs at which other members may be, as far as is known before the table of members is.
func (n *Node) elsewhere() []string {
	var urls []string
	add := func(more []string) {
		for _, u := range more {
			if !slices.Contains(urls, u) && !slices.Contains(n.cfg.AdvertisePeerURLs, u) {
				urls = append(urls, u)
			}
		}
	}
	for _, c := range n.id.Contacts {
		add(c.PeerURLs)
	}
	for _, p := range n.cfg.InitialCluster {
		add(p.URLs)
	}
	for _, m := range n.id.Members {
		if m.ID != n.id.MemberID {
			add(m.PeerURLs)
		}
	}
	return urls
}

// sendStore writes a store for a member that has lost its own.
func (n *Node) sendStore(ctx context.Context, q peer.StoreRequest, w io.Writer) error {
	if n.raft.Load() == nil {
		return errors.New("cluster: this member has not opened its stores yet; try another one or again")
	}
	if q.Cluster != n.id.ClusterID || q.Group < 0 || q.Group >= len(n.groups) {
		return &peer.RefusedError{Reason: "cluster: this member is of another cluster"}
	}
	if _, known := n.meta.record(q.Member); !known && n.caught.Load() {
		return &peer.RefusedError{Reason: "cluster: no such member"}
	}
	if err := n.admit(q.Member, q.Origin); err != nil {
		return &peer.RefusedError{Reason: err.Error()}
	}
	g := n.groups[q.Group]
	// What a quorum has is enough for any log. Without a quorum this one's may be, and who asks finds out.
	if n.caught.Load() {
		if err := g.readIndex(ctx); err != nil {
			n.log.Warn().Err(err).Int("group", g.id).Msg("a store is given away that may be behind")
		}
	}
	snap, err := g.st.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	n.log.Info().Str("member", peer.Target(q.Member)).Int("group", g.id).Msg("a member that lost a store gets this one's")
	return snap.WriteTo(w, ctx.Done())
}

// checkStore makes sure that the log goes on from the store of a group. It is
// called before the replica starts, because Dragonboat panics otherwise.
func (n *Node) checkStore(g *group, log raftio.ILogDB) error {
	if !n.nh.HasNodeInfo(g.shard, n.id.MemberID) {
		return nil
	}
	snapshot, err := log.GetSnapshot(g.shard, n.id.MemberID)
	if err != nil {
		return fmt.Errorf("cluster: group %d: read the raft log: %w; %s", g.id, err, rejoinAdvice)
	}
	dir := groupDir(n.cfg.DataDir, g.id)
	applied := g.st.Applied()
	behind := applied < snapshot.OnDiskIndex && !hasImage(&snapshot)
	if behind || applied == 0 && snapshot.OnDiskIndex == 0 && g.st.Seed() != n.id.Seed {
		reason := fmt.Sprintf("the store ends at log entry %d, the log begins after %d", applied, snapshot.OnDiskIndex)
		if err := store.Condemn(dir, reason); err != nil {
			return err
		}
		return fmt.Errorf("cluster: group %d: %s: what is in between only other members have; start this member when another one runs, which gives it its store, or %s",
			g.id, reason, rejoinAdvice)
	}
	return g.st.Acquit()
}

// hasImage reports whether a snapshot that came from another member still holds
// what it brought. It does until the store has it: a process that ended in
// between takes it in when it starts again.
func hasImage(s *raftpb.Snapshot) bool {
	if s.Dummy || s.Filepath == "" {
		return false
	}
	f, err := os.Open(s.Filepath)
	if err != nil {
		return false
	}
	defer f.Close()
	begin, err := io.ReadAll(io.LimitReader(f, imageBegins))
	return err == nil && store.BeginsSnapshot(begin)
}

// imageBegins is how much of a snapshot file may come before what the store has written: Dragonboat's header and sessions.
const imageBegins = 64 << 10

// rebuiltAt reports whether the store of a group was rebuilt where it stands, behind the end of the log.
func (n *Node) rebuiltAt(g *group) bool {
	at, rebuilt := n.id.Rebuilt[g.id]
	return rebuilt && at == g.st.Applied()
}
