package main

import "testing"

func TestVersionOf(t *testing.T) {
	const (
		etcd  = "etcd Version: 3.4.23\nGit SHA: abc\nGo Version: go1.19.8\nGo OS/Arch: linux/amd64\n"
		witan = "etcd Version: 2.3.8\nGit SHA: abc\nGo Version: go1.26.8\nGo OS/Arch: linux/amd64\nWitan Version: 0.1\n"
	)
	tests := []struct{ product, text, want string }{
		{etcdName, etcd, "3.4.23, made with go1.19.8"},
		{witanName, witan, "0.1, made with go1.26.8"},
		{otherName, witan, "0.1, made with go1.26.8"},
		{witanName, etcd, "unknown"},
		{witanName, "", "unknown"},
	}
	for _, tt := range tests {
		if got := versionOf(tt.product, tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.product, got, tt.want)
		}
	}
}
