package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/httpapi/gateway"
)

// runGateway forwards what clients ask to the members of a cluster until ctx
// ends, which is no error (contract §5.8).
func runGateway(ctx context.Context, c config, log zerolog.Logger) error {
	if c.Proxy == "off" {
		log.Warn().Msgf("%s belongs to a gateway, so this starts as one; to start a member choose another --data-dir", c.DataDir)
	}
	defer limitMemory(0)()
	files, err := fileLimit()
	if err != nil {
		return err
	}
	clients, err := listen(ctx, c.ListenClient)
	if err != nil {
		return err
	}
	peers, err := c.gatewayPeers(ctx, log)
	if err != nil {
		closeAll(clients)
		if ctx.Err() != nil {
			log.Info().Err(err).AnErr("reason", context.Cause(ctx)).Msg("stopped before the gateway had started")
			return nil
		}
		return err
	}
	g := gateway.Open(c.gateway(peers, log))
	// Every client may need a connection to a member.
	return serveGateway(ctx, g, clients, make(slots, (files-reservedFiles)/2), log)
}

// serveGateway answers clients until ctx ends or a listener breaks, and stops in order.
func serveGateway(ctx context.Context, g *gateway.Gateway, clients []net.Listener, limit slots, log zerolog.Logger) error {
	var serving sync.WaitGroup
	ended := make(chan error, len(clients))
	for _, l := range clients {
		serving.Go(func() { ended <- g.Serve(limit.limit(l)) })
		log.Info().Msgf("ready to serve client requests on http://%s", l.Addr())
	}
	// Whether there are members yet is /readyz's to say: a gateway may well
	// start before them.
	if err := notifySystemd("READY=1"); err != nil {
		log.Warn().Err(err).Msg("systemd was not told that the gateway is ready")
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info().AnErr("reason", context.Cause(ctx)).Msg("stopping")
	case err = <-ended:
		err = fmt.Errorf("serving clients ended: %w", err)
	}
	err = errors.Join(err, notifySystemd("STOPPING=1"))
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if e := g.Close(drain); e != nil {
		err = errors.Join(err, fmt.Errorf("closing the gateway: %w", e))
	}
	closeAll(clients) // a broken one is not the server's any more
	serving.Wait()
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // those that were served are closed already
	}
}

// gatewayPeers returns the peer URLs to begin with: what the last run has left
// in the data directory, or what the flags say or lead to.
func (c *config) gatewayPeers(ctx context.Context, log zerolog.Logger) ([]string, error) {
	urls, err := gateway.SavedPeers(c.gatewayFile())
	if err != nil {
		return nil, err
	}
	if len(urls) > 0 {
		log.Info().Strs("peer-urls", urls).Msgf("the members are those in %s, not what flags say", c.gatewayFile())
		return urls, nil
	}
	peers, err := c.findMembers(ctx, log)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range peers {
		for _, u := range p.URLs {
			if err := checkURL(u, toAdvertise); err != nil {
				errs = append(errs, fmt.Errorf("--initial-cluster: %w", err))
			}
			urls = append(urls, u)
		}
	}
	return urls, errors.Join(errs...)
}

func (c *config) gatewayFile() string { return filepath.Join(c.DataDir, "proxy", "cluster") }

// gateway returns the settings of the gateway.
func (c *config) gateway(peers []string, log zerolog.Logger) gateway.Config {
	ms := func(n uint) time.Duration { return time.Duration(n) * time.Millisecond }
	return gateway.Config{
		Logger:       log,
		PeerURLs:     peers,
		File:         c.gatewayFile(),
		ReadOnly:     c.Proxy == "readonly",
		CORS:         c.CORS,
		FailureWait:  ms(c.ProxyFailureWait),
		Refresh:      ms(c.ProxyRefresh),
		DialTimeout:  ms(c.ProxyDialTimeout),
		WriteTimeout: ms(c.ProxyWriteTimeout),
		ReadTimeout:  ms(c.ProxyReadTimeout),
	}
}
