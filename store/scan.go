package store

import "math"

// The overlay is read in bites that begin small, because most scans want one
// place or a few, and grow, because each costs a Badger iterator.
const (
	firstBite = 32
	bestBite  = 1024
)

// scan calls each for every place in [from, to) that held something at index
// at, in order, until each returns false.
func (v *view) scan(from, to string, at uint64, each func(place string, p version) bool) error {
	for bite := firstBite; ; bite = bestBite {
		pending, upTo, durable := v.collect(from, to, at, bite)
		disk := v.db.seek(from, upTo, at, v.end(at, durable))
		goOn, err := merge(pending, disk, each)
		disk.close()
		if err != nil || !goOn || upTo == to {
			return err
		}
		from = upTo
	}
}

// history calls each for the events of [from, to], in order, until it returns
// false. Events after the view are left out.
func (v *view) history(from, to uint64, each func(index uint64, trace string) bool) error {
	to = min(to, v.head.frontier)
	if from > to {
		return nil
	}
	older, newer := v.pendingHistory(from)
	pending := append(older[:len(older):len(older)], newer...)
	onDisk := to
	if len(pending) > 0 {
		onDisk = min(to, pending[0].index-1)
	}
	if from <= onDisk {
		if goOn, err := v.db.history(from, onDisk, each); err != nil || !goOn {
			return err
		}
	}
	for i := range pending {
		if pending[i].index > to || !each(pending[i].index, pending[i].trace) {
			break
		}
	}
	return nil
}

// pendingHistory returns the events from one index on that are in the overlay.
func (v *view) pendingHistory(from uint64) (older, newer []past) {
	v.kv.mu.RLock()
	defer v.kv.mu.RUnlock()
	if v.kv.db != v.db {
		return nil, nil
	}
	if v.kv.flushing != nil {
		older = v.kv.flushing.since(from)
	}
	return older, v.kv.active.since(from)
}

// collect copies what the overlay has of [from, to), at most about limit
// places of it, and returns up to where it is complete, and the last event
// that is not in the overlay.
func (v *view) collect(from, to string, at uint64, limit int) (pending []mutation, end string, durable uint64) {
	v.kv.mu.RLock()
	defer v.kv.mu.RUnlock()
	if v.kv.db != v.db {
		return nil, to, math.MaxUint64
	}
	end = to
	newer, more := v.kv.active.collect(from, end, at, limit, nil)
	if more {
		end = newer[len(newer)-1].place + "\x00"
	}
	if v.kv.flushing == nil {
		return newer, end, v.kv.durable
	}
	older, more := v.kv.flushing.collect(from, end, at, limit, nil)
	if more {
		end = older[len(older)-1].place + "\x00"
		for len(newer) > 0 && newer[len(newer)-1].place >= end {
			newer = newer[:len(newer)-1]
		}
	}
	return mergeMutations(newer, older), end, v.kv.durable
}

// merge calls each for the union of pending and what the disk has. The overlay
// wins: it is never older.
func merge(pending []mutation, disk *diskCursor, each func(string, version) bool) (goOn bool, err error) {
	for disk.next() {
		for len(pending) > 0 && pending[0].place < disk.place {
			p := pending[0]
			pending = pending[1:]
			if !p.gone && !each(p.place, p.version) {
				return false, nil
			}
		}
		if len(pending) > 0 && pending[0].place == disk.place {
			continue // told with the next place of the disk, or below
		}
		value, err := disk.value()
		if err != nil {
			return false, err
		}
		if !each(disk.place, version{index: disk.index, value: value}) {
			return false, nil
		}
	}
	if disk.err != nil {
		return false, disk.err
	}
	for _, p := range pending {
		if !p.gone && !each(p.place, p.version) {
			return false, nil
		}
	}
	return true, nil
}
