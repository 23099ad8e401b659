package cluster

import (
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/witan-kv/witan/store"
)

// inOrderDigits is the length of the names that POST makes (contract §1.10).
const inOrderDigits = 20

// groupOf returns the key group of a key below the root: the hash of its first
// component, or, for the names that POST makes on the root, the number itself,
// which is the group that made it (design §3).
func groupOf(k store.Key, groups int) int {
	if groups == 1 {
		return 0
	}
	first := k.First()
	if len(first) == inOrderDigits {
		if n, err := strconv.ParseUint(first, 10, 64); err == nil {
			return int(n % uint64(groups))
		}
	}
	return int(xxhash.Sum64String(first) % uint64(groups))
}

// route returns the group that a command or a read of k is for.
func (n *Node) route(k store.Key) *group {
	return n.groups[groupOf(k, len(n.groups))]
}

// routeCommand routes a command. In-order keys of the root may be made by any
// group, and they are by each in turn.
func (n *Node) routeCommand(cmd *store.Command) *group {
	if cmd.Op == store.OpCreateInOrder && cmd.Key.IsRoot() {
		return n.groups[n.turn.Add(1)%uint64(len(n.groups))]
	}
	return n.route(cmd.Key)
}
