package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
)

// The versions that a place got in one commit are few entries of Badger's, in
// packs of about 32 KB, each at the newest of its versions:
//
//	length value                of the newest one
//	distance×2   length value   of the older ones, newest first,
//	distance×2+1                or that the place was emptied
//
// in varints, the distances between indexes. If the place was emptied at last,
// that is an entry of its own above the pack.
//
// So what a place held at an index may be in an entry that is newer. To find it
// there is an end to how far above: packs do not reach over the ends of windows,
// into which the stretches of the history divide a commit, about 1 MB of
// changes each. Looking down from there (database.get), the first entry that
// reaches down to the index tells.
//
// Where packs and windows end depends on versions and events alone, but for
// the end of the commit. So an entry that an unfinished commit has left reaches down
// no less than one that a later commit has for the same version, because the
// unfinished one began no later; and it does no harm beside those.

// pack calls each for the entries that hold the versions of a place. ends is
// where the windows of their commit end.
func pack(place string, versions []version, ends []uint64, each func(entry) error) error {
	for len(versions) > 0 {
		n := 1
		if len(versions) > 1 {
			n = packLength(versions, ends)
		}
		if err := packFirst(place, versions[:n], each); err != nil {
			return err
		}
		versions = versions[n:]
	}
	return nil
}

// packLength returns how many of the versions are in one pack with the first one.
func packLength(versions []version, ends []uint64) int {
	end := uint64(math.MaxUint64)
	if i, _ := slices.BinarySearch(ends, versions[0].index); i < len(ends) {
		end = ends[i]
	}
	n := 1
	for n < len(versions) && versions[n].index <= end && !versions[n-1].endsPack() && len(versions[n].value) < stretchBytes {
		n++
	}
	return n
}

// endsPack tells whether no newer version is in a pack with this one. See past.endsStretch.
func (v *version) endsPack() bool {
	return lot(v.index, stretchBits) < uint64(len(v.value)+packOverhead)
}

// packOverhead is about what a version takes up in a pack beside its value.
const packOverhead = 4

// packFirst is pack for the versions of one pack.
func packFirst(place string, versions []version, each func(entry) error) error {
	n := len(versions)
	for n > 1 && versions[n-1].gone {
		n--
	}
	e := versionEntry(place, versions[n-1])
	if n > 1 {
		e.value, e.meta = encodePack(versions[:n]), metaPack
	}
	if err := each(e); err != nil {
		return err
	}
	for _, v := range versions[n:] {
		if err := each(versionEntry(place, v)); err != nil {
			return err
		}
	}
	return nil
}

func encodePack(versions []version) []byte {
	size := 0
	for i := range versions {
		size += len(versions[i].value) + 6
	}
	b := make([]byte, 0, size)
	newer := versions[len(versions)-1].index
	for i, v := range slices.Backward(versions) {
		if i < len(versions)-1 {
			distance := (newer - v.index) << 1
			if v.gone {
				distance |= 1
			}
			b = binary.AppendUvarint(b, distance)
		}
		if !v.gone {
			b = appendText(b, v.value)
		}
		newer = v.index
	}
	return b
}

// decodePack calls each for the versions of a pack, newest first, until it
// returns false. newest is the index of the first one.
func decodePack(s string, newest uint64, each func(version) bool) error {
	in := cursor{rest: s}
	for v := (version{index: newest}); ; {
		v.value = ""
		if !v.gone {
			v.value = in.text()
		}
		if in.err != nil || !each(v) || in.rest == "" {
			return in.err
		}
		distance := in.uvarint()
		if distance>>1 == 0 || distance>>1 > v.index {
			return errMalformed
		}
		v.index, v.gone = v.index-distance>>1, distance&1 == 1
	}
}

// itemIndex returns the index of an entry, the newest one if it is a pack.
func itemIndex(item *badger.Item) uint64 { return item.Version() - firstVersion }

// itemValue returns the value of an entry, the newest one if it is a pack.
func itemValue(item *badger.Item) (value string, err error) {
	err = item.Value(func(b []byte) error {
		if item.UserMeta() == metaPack {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return errMalformed
			}
			b = b[size:][:n]
		}
		value = string(b)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("store: read: %w: %w", err, ErrDamaged)
	}
	return value, nil
}

// itemVersions calls each for the versions in an entry, newest first, until it
// returns false. Their values are good for the time of the call only: copying
// packs is most of what looking into them costs.
func itemVersions(item *badger.Item, each func(version) bool) error {
	if item.IsDeletedOrExpired() {
		each(version{index: itemIndex(item), gone: true})
		return nil
	}
	if item.UserMeta() != metaPack {
		value, err := itemValue(item)
		if err == nil {
			each(version{index: itemIndex(item), value: value})
		}
		return err
	}
	err := item.Value(func(b []byte) error {
		return decodePack(unsafe.String(unsafe.SliceData(b), len(b)), itemIndex(item), each)
	})
	if err != nil {
		return fmt.Errorf("store: read: %w: %w", err, ErrDamaged)
	}
	return nil
}

// itemAt returns the newest version in an entry that is not newer than at, and
// the index of the oldest version it has come by.
func itemAt(item *badger.Item, at uint64) (found version, ok bool, oldest uint64, err error) {
	oldest = itemIndex(item)
	if oldest > at && item.UserMeta() != metaPack {
		return version{}, false, oldest, nil
	}
	err = itemVersions(item, func(v version) bool {
		oldest = v.index
		if ok = v.index <= at; ok {
			found = v
			found.value = strings.Clone(v.value) // not all of the pack
		}
		return !ok
	})
	return found, ok, oldest, err
}

// get returns what place held at the given index. end is the end of the window
// that the index is in, or the index itself if no pack can have what came after
// it together with what was there before (view.end).
func (d *database) get(place []byte, at, end uint64) (value string, index uint64, found bool, err error) {
	for {
		v, ok, oldest, err := d.look(place, at, end)
		if err != nil || ok {
			return v.value, v.index, ok && !v.gone, err
		}
		end = max(at, oldest-1)
	}
}

// look looks into the newest entry of place that is not newer than end. If that
// is too new, it returns the oldest index it has come by.
func (d *database) look(place []byte, at, end uint64) (_ version, ok bool, oldest uint64, err error) {
	txn := d.badger.NewTransactionAt(firstVersion+end, false)
	defer txn.Discard()
	item, err := txn.Get(place)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound) && end > at:
		v, err := emptied(txn, place, at)
		return v, true, 0, err
	case errors.Is(err, badger.ErrKeyNotFound):
		return version{gone: true}, true, 0, nil
	case err != nil:
		return version{}, false, 0, fmt.Errorf("store: read: %w: %w", err, ErrDamaged)
	case itemIndex(item) <= at:
		value, err := itemValue(item)
		return version{index: itemIndex(item), value: value}, true, 0, err
	}
	return itemAt(item, at)
}

// emptied is look for a place that is empty at the end of the window, if it ever
// was anything else.
func emptied(txn *badger.Txn, place []byte, at uint64) (version, error) {
	it := txn.NewKeyIterator(place, badger.IteratorOptions{})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		v, ok, _, err := itemAt(it.Item(), at)
		if err != nil || ok {
			return v, err
		}
	}
	return version{gone: true}, nil
}
