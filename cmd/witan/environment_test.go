package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCutRemark(t *testing.T) {
	for _, tt := range []struct{ in, rest, remark string }{
		{"etcd_node1  // the first node", "etcd_node1", "// the first node"},
		{"etcd_node1\t//x", "etcd_node1", "//x"},
		{"http://h:1", "http://h:1", ""},
		{"http://h:1,http://g:2 // two", "http://h:1,http://g:2", "// two"},
		{"http://h:1 // see http://g // there", "http://h:1", "// see http://g // there"},
		{"a=http://h:1, b=http://g:2", "a=http://h:1, b=http://g:2", ""},
		{"// nothing but a remark", "", "// nothing but a remark"},
		{"  // nothing but a remark", "", "// nothing but a remark"},
		{"//srv/etcd", "//srv/etcd", ""},
		{"//", "//", ""},
		{"/var//lib", "/var//lib", ""},
		{"/var///lib", "/var///lib", ""},
		{" spaces stay ", " spaces stay ", ""},
		{"", "", ""},
	} {
		rest, remark := cutRemark(tt.in)
		if rest != tt.rest || remark != tt.remark {
			t.Errorf("cutRemark(%q) = %q, %q, want %q, %q", tt.in, rest, remark, tt.rest, tt.remark)
		}
	}
}

// TestRemarks reads an environment file of an operations guide as systemd
// passes it on.
func TestRemarks(t *testing.T) {
	c, notes := parse(t, []string{"--data-dir=/flag // stays"}, []string{
		"ETCD_NAME=etcd_node1  // this member's name",
		"ETCD_DATA_DIR=/var/lib/etcd // not looked at: there is a flag",
		"ETCD_LISTEN_CLIENT_URLS=http://10.0.0.1:2379,http://127.0.0.1:2379 // for clients",
		"ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379",
		"ETCD_ELECTION_TIMEOUT=2000 // ms",
		"ETCD_INITIAL_CLUSTER_TOKEN= // nothing",
	})
	want := []string{
		`environment variable ETCD_ELECTION_TIMEOUT: "// ms" is taken for a remark and cut off; its value is "2000"`,
		`environment variable ETCD_LISTEN_CLIENT_URLS: "// for clients" is taken for a remark and cut off; its value is "http://10.0.0.1:2379,http://127.0.0.1:2379"`,
		`environment variable ETCD_NAME: "// this member's name" is taken for a remark and cut off; its value is "etcd_node1"`,
		`environment variable ETCD_INITIAL_CLUSTER_TOKEN: "// nothing" is taken for a remark and cut off; its value is ""`,
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if c.Name != "etcd_node1" || c.DataDir != "/flag // stays" || c.Election != 2000 || c.Token != "etcd-cluster" {
		t.Errorf("name %q, data directory %q, election timeout %d, token %q", c.Name, c.DataDir, c.Election, c.Token)
	}
	if diff := cmp.Diff(stringList{"http://10.0.0.1:2379", "http://127.0.0.1:2379"}, c.ListenClient); diff != "" {
		t.Errorf("client URLs (-want +got):\n%s", diff)
	}
}

func TestUnknownVariablesAreExplained(t *testing.T) {
	_, notes := parse(t, nil, []string{"ETCD_LISTEN_CLIENT_URL=x", "WITAN_INITIAL_CLUSTR=x", "ETCD_BACKUP_DIR=x", "WITAN_MAX_WAL=x", "ETCD_VERSION=3"})
	want := []string{
		"environment variable ETCD_BACKUP_DIR is not known and has no effect; did you mean WITAN_BACKUP_DIR?",
		"environment variable ETCD_LISTEN_CLIENT_URL is not known and has no effect; did you mean ETCD_LISTEN_CLIENT_URLS?",
		"environment variable ETCD_VERSION is not known and has no effect",
		"environment variable WITAN_INITIAL_CLUSTR is not known and has no effect; did you mean WITAN_INITIAL_CLUSTER?",
		"environment variable WITAN_MAX_WAL is not known and has no effect; did you mean WITAN_MAX_WALS?",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
