package cluster

import "strings"

// Versions is what /version answers on the client port and on the peer port
// (contract §4.4).
type Versions struct {
	Server  string `json:"etcdserver"`
	Cluster string `json:"etcdcluster"`
}

// VersionsOf returns the versions of a cluster whose servers all claim the
// given one: the cluster's has the patch level cleared.
func VersionsOf(server string) Versions {
	v := Versions{Server: server, Cluster: server}
	if parts := strings.SplitN(server, ".", 3); len(parts) == 3 {
		v.Cluster = parts[0] + "." + parts[1] + ".0"
	}
	return v
}
