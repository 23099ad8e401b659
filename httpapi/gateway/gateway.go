package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	readHeaderTimeout = 5 * time.Second

	// idleTimeout is longer than the 90 s for which Go's own client keeps an
	// idle connection, so that it is the client who closes: see httpapi.
	idleTimeout = 3 * time.Minute

	// upstreamIdle is below the members' idleTimeout, for the same reason.
	upstreamIdle = 90 * time.Second

	maxHeaderBytes = 1 << 20 // contract §1.3

	// maxIdle is how many idle connections are kept to each member.
	maxIdle = 256
)

// Config is how a Gateway is set up.
type Config struct {
	Logger zerolog.Logger

	// PeerURLs are the addresses of members to begin with. Only the list of
	// members is asked for there.
	PeerURLs []string

	// File is where the members' peer URLs are kept for the next start, "" if
	// nowhere. See SavedPeers.
	File string

	// ReadOnly lets nothing but GET pass.
	ReadOnly bool

	// CORS lists the origins whose browsers may read answers; "*" means all.
	// If it is empty, it is the members who decide.
	CORS []string

	// FailureWait is how long a member that failed is left alone while others
	// answer. Refresh is the time between two looks at the list of members.
	FailureWait, Refresh time.Duration

	// DialTimeout limits connecting to a member, WriteTimeout and ReadTimeout
	// each piece sent to it and received. 0 means no limit. Watches are silent
	// for as long as nothing happens, so ReadTimeout ends them.
	DialTimeout, WriteTimeout, ReadTimeout time.Duration
}

// Gateway answers clients with what the members say. Its methods may be called
// from many goroutines at once.
type Gateway struct {
	config    Config
	log       zerolog.Logger
	name      string // in Via
	http      *http.Server
	proxy     *httputil.ReverseProxy
	line      *line
	members   *directory
	transport *http.Transport
	client    *http.Client // for questions of our own

	// closing is done when Close begins. It ends the watches, and only them:
	// other requests have until the end of Close to finish.
	closing    context.Context
	endWatches context.CancelFunc

	// cut ends the context of every request.
	cut context.CancelFunc

	work sync.WaitGroup // goroutines that live until closing
}

// Open returns a Gateway that looks for members already. Nothing is served
// before Serve. It must be closed.
func Open(c Config) *Gateway {
	g := &Gateway{
		config:    c,
		log:       c.Logger.With().Str("component", "gateway").Logger(),
		name:      fmt.Sprintf("witan-%016x", rand.Uint64()),
		line:      &line{wait: c.FailureWait},
		transport: newTransport(c),
	}
	g.client = &http.Client{Transport: g.transport}
	g.members = newDirectory(g)
	g.proxy = g.newProxy()
	g.closing, g.endWatches = context.WithCancel(context.Background())
	base, cut := context.WithCancel(context.Background())
	g.cut = cut
	g.http = &http.Server{
		Handler:           http.HandlerFunc(g.handle),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState:         clearWriteDeadline,
		ErrorLog:          g.errorLog(zerolog.WarnLevel),
	}
	g.work.Go(func() { g.members.follow(g.closing) })
	g.work.Go(func() { g.keepHealthy(g.closing) })
	return g
}

// Serve accepts connections from l until Close, closes l and returns nil, or
// returns the error that broke l. It may be called for several listeners.
func (g *Gateway) Serve(l net.Listener) error {
	if err := g.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close refuses new connections, ends all watches and waits for the other
// requests to finish. When ctx ends first, what is left is cut off and the
// error is ctx's.
func (g *Gateway) Close(ctx context.Context) error {
	g.endWatches()
	err := g.http.Shutdown(ctx)
	g.cut()
	if err != nil {
		err = errors.Join(err, g.http.Close())
	}
	g.work.Wait()
	g.transport.CloseIdleConnections()
	return err
}

// newTransport returns what members are spoken to with. It adds nothing to
// requests, compression included, and knows no HTTP proxy: members are near.
func newTransport(c Config) *http.Transport {
	dialer := &net.Dialer{
		Timeout: c.DialTimeout,
		// A watch says nothing for hours. These find out within half a minute
		// that there is nobody at the other end any more.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil || c.ReadTimeout == 0 && c.WriteTimeout == 0 {
				return conn, err
			}
			return &timedConn{Conn: conn, read: c.ReadTimeout, write: c.WriteTimeout}, nil
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     upstreamIdle,
	}
}

// timedConn limits the time of every single read and write.
type timedConn struct {
	net.Conn
	read, write time.Duration // 0 = no limit
}

func (c *timedConn) Read(p []byte) (int, error) {
	if c.read > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *timedConn) Write(p []byte) (int, error) {
	if c.write > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// errorLog passes on what the standard library has to say.
func (g *Gateway) errorLog(level zerolog.Level) *log.Logger {
	return log.New(errorLog{g.log, level}, "", 0)
}

type errorLog struct {
	log   zerolog.Logger
	level zerolog.Level
}

func (l errorLog) Write(p []byte) (int, error) {
	l.log.WithLevel(l.level).Msg(string(bytes.TrimSpace(p)))
	return len(p), nil
}
