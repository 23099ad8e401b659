// Package powerfs is a file system that forgets on a power cut what was never synced.
//
// A Disk keeps, beside what programs see, what the last fsync of each file and directory made durable. Cut throws away the rest, exactly,
// so that a run can show what kill -9 alone never shows: the kernel keeps a dead process's unsynced data.
//
// Where fsync shows: fsync, fdatasync and msync(MS_SYNC) all arrive as the FUSE request FSYNC, after the kernel has
// sent the pages dirtied through write or a shared mapping as WRITE. Pages the kernel writes back by itself arrive
// as WRITE alone and stay unsynced.
package powerfs
