package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
	"golang.org/x/sys/unix"
)

// To Pebble a log that is damaged at some place is one whose last write was cut
// short there: it goes on without the rest. A replica that goes on without
// entries or a vote it has promised can undo what was committed. So beside the
// log there is a witness to how far it had come, one record a replica. It is
// written when the log is on the disk, and not synced: after kill -9 it is
// exact, and after a power cut it may know less than there is, never more.
//
// The one thing that takes a log back is a leader that has other entries. Then
// the witness is taken back first, and synced.

const (
	logWitnessFile = "witness" // in raftDir
	logRecordSize  = 32
)

// logRecord is what the witness knows of one replica's log.
type logRecord struct {
	term, vote uint64
	last       uint64 // entry
}

// encode returns the numbers, 8 bytes little-endian each, their CRC-32C and zeros.
func (r logRecord) encode() []byte {
	b := make([]byte, 0, logRecordSize)
	for _, n := range []uint64{r.term, r.vote, r.last} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b[:logRecordSize]
}

// decodeLogRecord returns nothing for what it cannot read: a witness is no log.
func decodeLogRecord(b []byte) logRecord {
	r := logRecord{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
	if string(r.encode()) != string(b) {
		return logRecord{}
	}
	return r
}

// witnessedLogFactory makes log stores that have a witness.
type witnessedLogFactory struct {
	config.LogDBFactory
	dir  string // of the witness
	made *witnessedLog
}

var _ config.LogDBFactory = &witnessedLogFactory{}

// Create implements config.LogDBFactory.
func (f *witnessedLogFactory) Create(c config.NodeHostConfig, call config.LogDBCallback, dirs, walDirs []string) (raftio.ILogDB, error) {
	db, err := f.create(c, call, dirs, walDirs)
	if err != nil {
		return nil, err
	}
	f.made = &witnessedLog{ILogDB: db, dir: f.dir, records: map[uint64]logRecord{}}
	if err := f.made.open(filepath.Join(f.dir, logWitnessFile)); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f.made, nil
}

// create opens the log. Pebble panics on some damage.
func (f *witnessedLogFactory) create(c config.NodeHostConfig, call config.LogDBCallback, dirs, walDirs []string) (_ raftio.ILogDB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(firstLine(p))
		}
	}()
	return f.LogDBFactory.Create(c, call, dirs, walDirs)
}

// witnessedLog is a log store with a witness.
type witnessedLog struct {
	raftio.ILogDB
	dir string // of the witness

	mu      sync.Mutex
	f       *os.File
	records map[uint64]logRecord // by shard: a member has one replica of each
}

func (l *witnessedLog) open(path string) (err error) {
	if l.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	for shard := uint64(metaShard); shard <= keyShard(MaxGroups-1); shard++ {
		b := make([]byte, logRecordSize)
		if _, err := l.f.ReadAt(b, recordOffset(shard)); err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(fmt.Errorf("cluster: %w", err), l.f.Close())
		}
		l.records[shard] = decodeLogRecord(b)
	}
	return nil
}

func recordOffset(shard uint64) int64 { return int64(shard) * logRecordSize }

// SaveRaftState implements raftio.ILogDB.
func (l *witnessedLog) SaveRaftState(updates []pb.Update, worker uint64) error {
	for i := range updates {
		if err := l.takeBack(&updates[i]); err != nil {
			return err
		}
	}
	if err := l.ILogDB.SaveRaftState(updates, worker); err != nil {
		return err
	}
	for i := range updates {
		l.testify(&updates[i])
	}
	return nil
}

// takeBack is called before entries are replaced by others.
func (l *witnessedLog) takeBack(u *pb.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[u.ShardID]
	switch {
	case !pb.IsEmptySnapshot(u.Snapshot):
		r.last = 0
	case len(u.EntriesToSave) > 0:
		r.last = min(r.last, u.EntriesToSave[0].Index-1)
	}
	if r == l.records[u.ShardID] {
		return nil
	}
	if err := l.writeLocked(u.ShardID, r); err != nil {
		return err
	}
	return l.f.Sync()
}

// testify writes down what is on the disk now. Nothing depends on it, so an error is left to whom it hurts.
func (l *witnessedLog) testify(u *pb.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[u.ShardID]
	if !pb.IsEmptyState(u.State) {
		r.term, r.vote = u.State.Term, u.State.Vote
	}
	if n := len(u.EntriesToSave); n > 0 {
		r.last = u.EntriesToSave[n-1].Index
	}
	if r != l.records[u.ShardID] {
		_ = l.writeLocked(u.ShardID, r)
	}
}

func (l *witnessedLog) writeLocked(shard uint64, r logRecord) error {
	if _, err := l.f.WriteAt(r.encode(), recordOffset(shard)); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	l.records[shard] = r
	return nil
}

// RemoveNodeData implements raftio.ILogDB.
func (l *witnessedLog) RemoveNodeData(shard, replica uint64) error {
	l.mu.Lock()
	err := l.writeLocked(shard, logRecord{})
	l.mu.Unlock()
	return errors.Join(err, l.ILogDB.RemoveNodeData(shard, replica))
}

// Close implements raftio.ILogDB.
func (l *witnessedLog) Close() error { return errors.Join(l.ILogDB.Close(), l.f.Close()) }

// check returns an error if a replica's log has less than its witness saw. No replica runs yet.
func (l *witnessedLog) check(shard, replica uint64, known func(shard, replica uint64) bool) (err error) {
	r := l.records[shard]
	defer func() {
		if p := recover(); p != nil { // on some damage
			err = fmt.Errorf("it cannot be read: %v", firstLine(p))
		}
	}()
	if !known(shard, replica) {
		return nil // another matter: see initialMembers
	}
	snapshot, err := l.GetSnapshot(shard, replica)
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if shard == metaShard && !pb.IsEmptySnapshot(snapshot) {
		if err := checkSnapshot(l.dir, shard, replica, snapshot.Index); err != nil {
			return err
		}
	}
	has := logRecord{last: snapshot.Index}
	s, err := l.ReadRaftState(shard, replica, snapshot.Index)
	if err != nil && !errors.Is(err, raftio.ErrNoSavedLog) {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if has.term, has.vote = s.State.Term, s.State.Vote; s.EntryCount > 0 {
		has.last = max(has.last, s.FirstIndex+s.EntryCount-1)
	}
	switch {
	case has.last < r.last:
		return fmt.Errorf("it ends at entry %d, and had gone to %d", has.last, r.last)
	case has.term < r.term || has.term == r.term && has.vote != r.vote && r.vote != 0:
		return fmt.Errorf("it knows of term %d and a vote for %x, and had a vote for %x in term %d", has.term, has.vote, r.vote, r.term)
	}
	return nil
}

// checkLogs makes sure that this member still has every entry and vote it has promised.
func (n *Node) checkLogs(log *witnessedLog) error {
	for _, g := range n.raftGroups() {
		err := log.check(g.shard, n.id.MemberID, n.nh.HasNodeInfo)
		if err != nil {
			return n.logDamaged(fmt.Sprintf("the raft log of group %s", groupNames([]uint64{g.shard})[0]), err)
		}
	}
	return nil
}

// logDamaged says what is to be done about a raft log that cannot be relied upon.
func (n *Node) logDamaged(what string, err error) error {
	return fmt.Errorf("cluster: %s in %s is damaged: %w; the member must not take part without what it has promised: %s",
		what, filepath.Join(n.cfg.DataDir, raftDir), err, rejoinAdvice)
}

// firstLine leaves the stack trace out of what somebody panics with.
func firstLine(p any) string {
	line, _, _ := strings.Cut(fmt.Sprint(p), "\n")
	return line
}

// logNotOpened says what is to be done when the raft log cannot be opened. The disk may be in the way of it.
func (n *Node) logNotOpened(err error) error {
	if n.id == nil || !n.id.Started || isAny(err, unix.ENOSPC, unix.EIO, unix.EROFS, unix.EACCES, unix.EMFILE) {
		return err
	}
	return n.logDamaged("the raft log", err)
}
