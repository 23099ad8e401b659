package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/cluster/discovery"
)

// discover finds the members of the initial cluster for settings that say where
// to look instead of naming them. A member that has data needs none of it.
func (c *config) discover(ctx context.Context, log zerolog.Logger) error {
	if c.Discovery == "" && c.DiscoverySRV == "" {
		return nil
	}
	hasData, err := cluster.HasData(c.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	if hasData {
		log.Warn().Msgf("--discovery and --discovery-srv are ignored: %s holds a member that knows its cluster", c.DataDir)
		return nil
	}
	self := cluster.Peer{Name: c.Name, URLs: c.AdvertisePeer}
	if c.DiscoverySRV != "" {
		c.peers, err = discovery.LookUp(ctx, c.dns(log), self)
		return err
	}
	if c.ClusterState == string(cluster.JoinExisting) {
		return errors.New("--discovery finds the members of a new cluster; to join a running one, list its members in --initial-cluster")
	}
	c.Token = c.Discovery // members of etcd make their ids of it, too
	c.peers, err = discovery.Join(ctx, c.service(log), self)
	return err
}

// findMembers returns members that a gateway may begin with. It leaves no trace
// where it looks.
func (c *config) findMembers(ctx context.Context, log zerolog.Logger) ([]cluster.Peer, error) {
	switch {
	case c.Discovery != "":
		return discovery.Registered(ctx, c.service(log))
	case c.DiscoverySRV != "":
		return discovery.LookUp(ctx, c.dns(log), cluster.Peer{})
	}
	return c.peers, nil
}

func (c *config) service(log zerolog.Logger) discovery.Service {
	return discovery.Service{URL: c.Discovery, Proxy: c.DiscoveryProxy, Logger: log}
}

func (c *config) dns(log zerolog.Logger) discovery.DNS {
	return discovery.DNS{Domain: c.DiscoverySRV, Service: c.DiscoverySRVName, Resolver: c.resolver, Logger: log}
}
