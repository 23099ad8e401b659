//go:build !torture

package main

import (
	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
)

// seam is where the torture suite takes hold of a member. In a release there
// is nothing to take hold of (design §9).
type seam struct{}

func openSeam() (*seam, error)                        { return nil, nil }
func (*seam) cluster(c cluster.Config) cluster.Config { return c }
func (*seam) api(c httpapi.Config) httpapi.Config     { return c }
func (*seam) serve(*cluster.Node)                     {}
func (*seam) close()                                  {}
