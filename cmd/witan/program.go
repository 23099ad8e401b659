package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/cluster"
	"github.com/witan-kv/witan/httpapi"
)

// drainTime is how long requests under way may take when the member stops.
const drainTime = 5 * time.Second

// program is a member that serves: its parts in the order they are opened.
type program struct {
	config  config
	log     zerolog.Logger
	clients []net.Listener
	node    *cluster.Node
	server  *httpapi.Server

	serving sync.WaitGroup
	ended   chan error // why a listener is served no longer
	seam    *seam

	stopBackups context.CancelFunc // nil when there are none to make
	freeMemory  func()             // ends what keeps the limit of the heap
}

// open starts a member and returns when it has joined its cluster and serves
// clients, or when ctx ends. c must be valid.
func open(ctx context.Context, c config, log zerolog.Logger) (p *program, err error) {
	p = &program{config: c, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()

	p.freeMemory = limitMemory(c.Groups)
	files, err := fileLimit()
	if err != nil {
		return p, err
	}
	// Addresses first: one in use should be found before the data is touched.
	// Until the member has joined, clients wait in the listeners' queues.
	if p.clients, err = listen(ctx, c.ListenClient); err != nil {
		return p, err
	}
	if err := c.discover(ctx, log); err != nil {
		return p, err
	}
	if p.seam, err = openSeam(); err != nil {
		return p, err
	}
	if p.node, err = cluster.Open(ctx, p.seam.cluster(c.cluster(log))); err != nil {
		return p, fmt.Errorf("opening the member: %w", err)
	}
	p.seam.serve(p.node)
	p.server = httpapi.NewServer(p.node, p.seam.api(c.api(log)))
	p.serve(make(slots, files-reservedFiles))
	p.startBackups()
	return p, nil
}

// serve answers clients on all listeners.
func (p *program) serve(limit slots) {
	p.ended = make(chan error, len(p.clients))
	for _, l := range p.clients {
		p.serving.Go(func() { p.ended <- p.server.Serve(limit.limit(l)) })
	}
}

// wait returns nil when ctx ends, or the reason why the member cannot go on.
func (p *program) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		p.log.Info().AnErr("reason", context.Cause(ctx)).Msg("stopping")
		return nil
	case <-p.node.Removed():
		p.config.sayRemoved(p.log)
		return nil
	case err := <-p.node.Failed():
		return fmt.Errorf("the member failed: %w", err)
	case err := <-p.ended:
		return fmt.Errorf("serving clients ended: %w", err)
	}
}

// sayRemoved says that the member is not one of the cluster any more. That is
// the end somebody asked for and no failure: a supervisor should not start it again.
func (c *config) sayRemoved(log zerolog.Logger) {
	log.Warn().Msgf("etcdserver: the member has been permanently removed from the cluster; its data directory %s is of no use any more", c.DataDir)
}

// close stops what open has started. Clients go first, so that nothing is
// asked of a node that is going down, and what they have asked is answered.
func (p *program) close() error {
	var errs []error
	if p.stopBackups != nil {
		p.stopBackups()
	}
	if p.server != nil {
		errs = append(errs, notifySystemd("STOPPING=1"))
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := p.server.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing the API: %w", err))
		}
	}
	for _, l := range p.clients {
		_ = l.Close() // the server has closed those it served
	}
	p.serving.Wait()
	p.seam.close()
	if p.node != nil {
		if err := p.node.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the member: %w", err))
		}
	}
	p.freeMemory()
	return errors.Join(errs...)
}

// announce says that the member is ready, in the words that other projects'
// test suites wait for (contract §5.9), and to systemd.
func (p *program) announce() {
	p.log.Info().Msgf("etcdserver: published {Name:%s ClientURLs:%v} to cluster %x",
		p.config.Name, []string(p.config.AdvertiseClient), p.node.ClusterID())
	p.log.Info().Msgf("etcdserver: set the initial cluster version to %s", clusterVersion)
	p.log.Info().Msgf("etcdserver: enabled capabilities for version %s", clusterVersion)
	for _, l := range p.clients {
		p.log.Info().Msgf("ready to serve client requests on http://%s", l.Addr())
	}
	if err := notifySystemd("READY=1"); err != nil {
		p.log.Warn().Err(err).Msg("systemd was not told that the member is ready")
	}
}

// cluster returns the settings of the node.
func (c *config) cluster(log zerolog.Logger) cluster.Config {
	return cluster.Config{
		Name:                c.Name,
		DataDir:             c.DataDir,
		Token:               c.Token,
		InitialCluster:      c.peers,
		ListenPeerURLs:      c.ListenPeer,
		AdvertisePeerURLs:   c.AdvertisePeer,
		AdvertiseClientURLs: c.AdvertiseClient,
		Groups:              c.Groups,
		EventHistory:        c.EventHistory,
		CacheBytes:          cacheBytes(),
		SnapshotCount:       c.SnapshotCount,
		Heartbeat:           c.heartbeat(),
		ElectionTimeout:     c.election(),
		Join:                cluster.JoinMode(c.ClusterState),
		ReplaceLostSelf:     c.ReplaceLostSelf,
		StrictReconfig:      c.StrictReconfig,
		ForceNewCluster:     c.ForceNewCluster,
		Logger:              log,
		Version:             claimedVersion,
	}
}

// api returns the settings of the HTTP server.
func (c *config) api(log zerolog.Logger) httpapi.Config {
	return httpapi.Config{
		Logger:        log,
		MaxValueBytes: c.MaxValueBytes,
		Version:       claimedVersion,
		CORS:          c.CORS,
	}
}
