package powerfs

import (
	"math"
	"strings"
	"syscall"
	"time"
)

// Always is for faults that do not end by themselves.
const Always = math.MaxInt

// Faults is what a disk does wrong. The zero value is nothing.
type Faults struct {
	// So many requests fail with EIO. After a failed fsync the pages count as clean, as on ext4: they are seen until the power fails, and
	// another fsync succeeds without them.
	Syncs, Writes, Reads int
	// In limits these failures to files in whose path it occurs.
	In string

	SyncDelay, WriteDelay time.Duration // of each request
	Rate                  int           // fsyncs and writes a second at most, if not 0
	ReadOnly              bool          // whatever changes something fails with EROFS
}

// Bites is how often faults were felt by those who use the disk.
type Bites struct {
	Syncs, Writes, Reads int // failed with EIO
	Full                 int // failed with ENOSPC
	Refused              int // failed with EROFS
	Slowed               int
	Last                 string // file of the last request that failed with EIO
}

// Set replaces the disk's faults. It can be called at any time.
func (d *Disk) Set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// Bites is how often the faults so far were felt.
func (d *Disk) Bites() Bites {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bites
}

// Occupy lets others use the disk too, who leave so many bytes free, or all that is not used when free is negative.
func (d *Disk) Occupy(free int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others = 0
	if free >= 0 {
		d.others = max(0, d.freeLocked()-(free+pageSize-1)/pageSize)
	}
}

// Free is how many bytes are free.
func (d *Disk) Free() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.freeLocked() * pageSize
}

// capacity of a disk whose options do not say.
const capacity = 64 << 30

// freeLocked is how many pages are free.
func (d *Disk) freeLocked() int64 { return max(0, d.options.Capacity/pageSize-d.used-d.others) }

// takeLocked uses so many pages more, if there are.
func (d *Disk) takeLocked(pages int64) syscall.Errno {
	if pages > 0 && pages > d.freeLocked() {
		d.bites.Full++
		return syscall.ENOSPC
	}
	d.used += pages
	return 0
}

// failLocked says whether a request for a file is one of those that fail.
func (n *node) failLocked(left, felt *int) syscall.Errno {
	if *left == 0 {
		return 0
	}
	path := n.Path(nil)
	if !strings.Contains(path, n.disk.faults.In) {
		return 0
	}
	if *left != Always {
		*left--
	}
	*felt++
	n.disk.bites.Last = path
	return syscall.EIO
}

// changing runs f on the disk, which changes something.
func (n *node) changing(f func() syscall.Errno) syscall.Errno {
	return n.locked(func() syscall.Errno {
		if n.disk.faults.ReadOnly {
			n.disk.bites.Refused++
			return syscall.EROFS
		}
		return f()
	})
}

// dawdle takes the time a request takes on a slow disk: its own, and that of all before it if the disk does only so many a second.
func (d *Disk) dawdle(delay func(*Faults) time.Duration) {
	d.mu.Lock()
	wait := delay(&d.faults)
	if d.faults.Rate > 0 {
		now := time.Now()
		d.idle = later(d.idle, now).Add(time.Second / time.Duration(d.faults.Rate))
		wait += d.idle.Sub(now)
	}
	if wait > 0 {
		d.bites.Slowed++
	}
	d.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (f *Faults) syncDelay() time.Duration  { return f.SyncDelay }
func (f *Faults) writeDelay() time.Duration { return f.WriteDelay }
