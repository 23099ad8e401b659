package cluster

import (
	"sync"
	_ "unsafe" // for go:linkname

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
)

// What Dragonboat keeps to itself and has no public way to. The build breaks
// when one of these is no longer there.

// newLogDB makes the log store that Dragonboat uses if it is not given another.
//
//go:linkname newLogDB github.com/lni/dragonboat/v4/internal/logdb.NewDefaultLogDB
func newLogDB(config.NodeHostConfig, config.LogDBCallback, []string, []string) (raftio.ILogDB, error)

// entrySliceSize is for how many entries Dragonboat makes room whenever the
// last one in memory was applied, which is after each write of a lone writer:
// 512, or 40 KB. minEntrySliceSize is how much of it must be free.
//
// With 64, a write of a lone writer allocates 9 KB instead of 46 and costs a
// sixth less beside HTTP (BenchmarkPut). A file in the directory that the
// process is started from could set them too, but is not ours to put there.
//
//go:linkname entrySliceSize github.com/lni/dragonboat/v4/internal/raft.entrySliceSize
var entrySliceSize uint64

//go:linkname minEntrySliceSize github.com/lni/dragonboat/v4/internal/raft.minEntrySliceSize
var minEntrySliceSize uint64

// tuneRaft is called before there is any replica, which would read them meanwhile.
var tuneRaft = sync.OnceFunc(func() { entrySliceSize, minEntrySliceSize = 64, 16 })
