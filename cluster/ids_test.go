package cluster

import "testing"

// The values are etcd's own (contract §4.1).
func TestIDs(t *testing.T) {
	for _, tc := range []struct {
		name    string
		urls    []string
		member  uint64
		cluster uint64
	}{
		{"2.x defaults", []string{"http://localhost:7001", "http://localhost:2380"}, 0xce2a822cea30bfca, 0x7e27652122e8b2ae},
		{"3.x default", []string{"http://localhost:2380"}, 0x8e9e05c52164694d, 0xcdf818194e3a8c32},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := MemberID(tc.urls, "etcd-cluster")
			if id != tc.member {
				t.Errorf("member id %x, want %x", id, tc.member)
			}
			if c := clusterID([]uint64{id}); c != tc.cluster {
				t.Errorf("cluster id %x, want %x", c, tc.cluster)
			}
		})
	}
}
