package cluster

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MemberID computes the id of an initial member as etcd does: the first eight
// bytes of SHA-1 over its sorted peer URLs and the cluster token (contract §4.1).
func MemberID(peerURLs []string, token string) uint64 {
	sorted := slices.Sorted(slices.Values(peerURLs))
	sum := sha1.Sum([]byte(strings.Join(sorted, "") + token))
	return binary.BigEndian.Uint64(sum[:8])
}

// addedMemberID computes the id of a member that is added to a running cluster:
// without the token, with the time, so that it is never one that was removed.
func addedMemberID(peerURLs []string, now time.Time) uint64 {
	return MemberID(peerURLs, strconv.FormatInt(now.Unix(), 10))
}

// clusterID computes the id of a cluster from those of its initial members.
func clusterID(members []uint64) uint64 {
	var b []byte
	for _, id := range slices.Sorted(slices.Values(members)) {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	sum := sha1.Sum(b)
	return binary.BigEndian.Uint64(sum[:8])
}
