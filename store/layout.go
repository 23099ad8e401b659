package store

import (
	"encoding/binary"
	"strings"
)

// The keys of the store itself. Each kind of record has a space of its own,
// told by the first byte:
//
//	'n' length of parent (4 bytes) parent name → a node
//	't' deadline (8 bytes) path                → a node that expires then
//	'h' index (8 bytes)                        → the events of the history up to this one
//	'm'                                        → the ledger
//
// Numbers are big-endian, so that keys sort as the numbers do. The length in
// front of the parent keeps the children of one directory together, in order
// of their names, with nothing of the directories below in between. The root
// has no record: it is always there and always a directory.
const (
	spaceNode    = 'n'
	spaceQueue   = 't'
	spaceHistory = 'h'
	ledgerKey    = "m"
)

// maxKeyBytes is the longest path a node may have. Badger's limit for a key is
// 65,000 bytes; half of that leaves room for our prefixes and is far more than
// any client writes.
const maxKeyBytes = 32_768

// appendNodeKey appends the place of k's record to b. k is not the root.
func appendNodeKey(b []byte, k Key) []byte {
	slash := strings.LastIndexByte(k.path, '/')
	b = append(b, spaceNode)
	b = binary.BigEndian.AppendUint32(b, uint32(slash))
	b = append(b, k.path[:slash]...)
	return append(b, k.path[slash+1:]...)
}

// nodePlace returns the place of k's record as a string.
func nodePlace(k Key) string {
	var buf [usualPlace]byte
	return string(appendNodeKey(buf[:0], k))
}

// parseNodePlace is the inverse of nodePlace.
func parseNodePlace(place string) (Key, bool) {
	if len(place) < 6 || place[0] != spaceNode {
		return Key{}, false
	}
	parent := uint64(place[1])<<24 | uint64(place[2])<<16 | uint64(place[3])<<8 | uint64(place[4])
	rest := place[5:]
	if parent >= uint64(len(rest)) {
		return Key{}, false
	}
	k := Key{path: rest[:parent] + "/" + rest[parent:]}
	return k, canonical(k.path) && uint64(len(k.Parent().path)) == parent
}

// childrenPrefix returns what the places of all children of dir begin with.
func childrenPrefix(dir Key) string {
	b := make([]byte, 0, 5+len(dir.path))
	b = append(b, spaceNode)
	b = binary.BigEndian.AppendUint32(b, uint32(len(dir.path)))
	return string(append(b, dir.path...))
}

// queueKey returns the place of the note that k expires at deadline. Notes
// sort by deadline and then by path, the order in which nodes expire.
func queueKey(deadline int64, k Key) string {
	b := make([]byte, 0, 9+len(k.path))
	b = append(b, spaceQueue)
	b = binary.BigEndian.AppendUint64(b, uint64(deadline))
	return string(append(b, k.path...))
}

// queueStart returns the lowest place of notes due at deadline or later.
func queueStart(deadline int64) string { return queueKey(deadline, Key{}) }

// parseQueueKey is the inverse of queueKey.
func parseQueueKey(place string) (deadline int64, k Key, ok bool) {
	if len(place) < 9 || place[0] != spaceQueue {
		return 0, Key{}, false
	}
	return int64(bigEndian(place[1:9])), Key{path: place[9:]}, true
}

// historyKey returns the place of the event with the given index: where a stretch
// of the history is that ends with it, and what it is called in snapshots.
func historyKey(index uint64) string {
	b := make([]byte, 0, 9)
	b = append(b, spaceHistory)
	return string(binary.BigEndian.AppendUint64(b, index))
}

// historyIndex is the inverse of historyKey; ok is false for other places.
func historyIndex(place string) (index uint64, ok bool) {
	if len(place) != 9 || place[0] != spaceHistory {
		return 0, false
	}
	return bigEndian(place[1:]), true
}

// bigEndian reads an 8-byte number without turning the string into bytes.
func bigEndian(s string) uint64 {
	var n uint64
	for i := range 8 {
		n = n<<8 | uint64(s[i])
	}
	return n
}

// after returns the lowest string above every string that begins with prefix,
// which is not empty and not all 0xff.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; ; i-- {
		if b[i] != 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
}
