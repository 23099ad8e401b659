package cluster

import (
	"encoding/binary"
	"errors"

	"github.com/witan-kv/witan/store"
)

// An entry of a key group's log holds one command or several that were proposed
// together, each with its length in front.

// entryRoom is what an entry may grow to by commands that join the first. It
// bounds what the log holds of an entry, and what one of them is held up by.
const entryRoom = 64 << 10

// appendCommand appends a command to an entry. scratch is room that is used
// meanwhile; what it has become is returned to be passed again.
func appendCommand(entry, scratch []byte, cmd *store.Command) (_, room []byte) {
	scratch = cmd.AppendTo(scratch[:0])
	if cap(entry) == 0 {
		entry = make([]byte, 0, binary.MaxVarintLen32+len(scratch))
	}
	entry = binary.AppendUvarint(entry, uint64(len(scratch)))
	return append(entry, scratch...), scratch
}

// oneCommand returns an entry that holds only cmd.
func oneCommand(cmd *store.Command) []byte {
	entry, _ := appendCommand(nil, nil, cmd)
	return entry
}

var errEntry = errors.New("an entry with a broken length")

// readEntry appends the commands of an entry to commands. They do not share
// its memory.
func readEntry(entry []byte, commands []store.Command) ([]store.Command, error) {
	for len(entry) > 0 {
		size, n := binary.Uvarint(entry)
		if n <= 0 || size > uint64(len(entry)-n) {
			return commands, errEntry
		}
		cmd, err := store.Decode(entry[n : n+int(size)])
		if err != nil {
			return commands, err
		}
		commands = append(commands, cmd)
		entry = entry[n+int(size):]
	}
	return commands, nil
}
