package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"

	"github.com/witan-kv/witan/cluster/peer"
)

const raftDir = "raft"

// timing is the configured timing in Dragonboat's ticks.
type timing struct {
	tick      time.Duration
	heartbeat uint64
	election  uint64
}

// newTiming halves the heartbeat interval for a tick, so that election
// time-outs, which Dragonboat spreads over whole ticks from one to two times
// the one it is given, stay apart. It is given seven tenths, so that they lie
// around the configured one and the first of two members stands about then.
func newTiming(c *Config) timing {
	tick := max(c.Heartbeat/2, time.Millisecond)
	return timing{tick: tick, heartbeat: 2, election: max(uint64(c.ElectionTimeout*7/10/tick), 5)}
}

// nodeHostConfig is the configuration that was measured (engine §5).
func nodeHostConfig(c *Config, id *identity, t timing, transport *peer.Transport, log config.LogDBFactory, l leaderListener) config.NodeHostConfig {
	logDB := config.GetTinyMemLogDBConfig()
	logDB.Shards = logShards
	logDB.KVWriteBufferSize = 8 << 20
	logDB.KVMaxBytesForLevelBase = 64 << 20
	return config.NodeHostConfig{
		NodeHostDir:         filepath.Join(c.DataDir, raftDir),
		RaftAddress:         peer.Target(id.MemberID),
		DeploymentID:        id.ClusterID,
		RTTMillisecond:      uint64(t.tick / time.Millisecond),
		MaxSendQueueSize:    64 << 20,
		MaxReceiveQueueSize: 64 << 20,
		RaftEventListener:   l,
		Expert: config.ExpertConfig{
			TransportFactory: transport,
			Engine: config.EngineConfig{
				ExecShards: execShards, CommitShards: 1, ApplyShards: 4, SnapshotShards: 4, CloseShards: 16,
			},
			LogDB:        logDB,
			LogDBFactory: log,
		},
	}
}

// shardConfig configures one replica.
func shardConfig(c *Config, id *identity, t timing, shard uint64) config.Config {
	return config.Config{
		ShardID:             shard,
		ReplicaID:           id.MemberID,
		ElectionRTT:         t.election,
		HeartbeatRTT:        t.heartbeat,
		CheckQuorum:         true,
		PreVote:             true,
		OrderedConfigChange: true,
		WaitReady:           true,
		SnapshotEntries:     c.SnapshotCount,
		CompactionOverhead:  max(min(c.SnapshotCount/2, 5_000), 1),
		MaxInMemLogSize:     64 << 20,
		// Pebble compacts the log by itself. Asked to after each snapshot it begins a new file in a goroutine of Dragonboat's, and panics
		// there on a disk that has just been filled (brim, seed 11). 318 MB of entries: 121 MB on the disk at most, instead of 102.
		DisableAutoCompactions: true,
		IsNonVoting:            id.Joined, // that it has become a voter is in the log
	}
}

// newNodeHost opens the raft log. A NodeHost that panics inside may come back
// as nil without an error (engine §0.11).
func newNodeHost(c config.NodeHostConfig) (*dragonboat.NodeHost, error) {
	tuneRaft()
	nh, err := dragonboat.NewNodeHost(c)
	if err != nil {
		return nil, fmt.Errorf("cluster: open the raft log: %w", err)
	}
	if nh == nil {
		return nil, errors.New("cluster: open the raft log: it failed without saying why; the log above may tell")
	}
	return nh, nil
}

// closeNodeHost closes it. Close panics on errors inside; what matters is on
// disk already, so they are returned to be logged.
func closeNodeHost(nh *dragonboat.NodeHost) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cluster: close the raft log: %v", p)
		}
	}()
	nh.Close()
	return nil
}

// settingsFile is where Dragonboat keeps the host name beside settings that
// our own identity covers.
const settingsFile = "dragonboat.ds"

// hostIDFile is where it keeps a random number that nobody asks for, and refuses to start when that is damaged.
const hostIDFile = "NODEHOST.ID"

// adoptHostName makes a raft directory written under another host name usable.
// Dragonboat names a directory after the host and refuses to start on any
// other; containers change theirs at every start. Whose data it is has been
// checked by our own identity before.
func adoptHostName(dir string) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	var other string
	known := false
	for _, e := range entries {
		if e.Name() == host {
			known = true
		} else if e.IsDir() {
			other = e.Name()
		}
	}
	if !known && other != "" {
		if err := os.Rename(filepath.Join(dir, other), filepath.Join(dir, host)); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	for _, name := range []string{settingsFile, hostIDFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	return syncDir(dir)
}
