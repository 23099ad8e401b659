package httpapi

import (
	"bytes"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/rs/zerolog"

	"github.com/witan-kv/witan/httpapi/park"
)

const (
	readHeaderTimeout = 5 * time.Second

	// bodyTimeout is how long a client may take to send a form: for the
	// largest that can be of use, a value of 1 MiB all in escapes, 50 KB/s.
	bodyTimeout = time.Minute

	// idleTimeout is longer than the 90 s for which Go's own client keeps an
	// idle connection, so that it is the client who closes: a server that
	// closes first can cut off a write the client is about to send, and a
	// client does not know whether that one may be repeated.
	idleTimeout = 3 * time.Minute

	maxHeaderBytes = 1 << 20 // contract §1.3

	defaultMaxValueBytes = 1 << 20
	defaultVersion       = "2.3.8" // contract §4.4
)

// Config is how a Server is set up. The zero Config is valid.
type Config struct {
	Logger zerolog.Logger

	// MaxValueBytes is the longest value of a key. A longer one is refused
	// with 413. 0 means 1 MiB.
	MaxValueBytes int

	// Version is the etcd version that /version claims, "major.minor.patch".
	// Empty means 2.3.8.
	Version string

	// CORS lists the origins whose browsers may read answers, compared
	// letter by letter; "*" means all. Empty, the default, means none, as in
	// etcd 2.3 (etcd 3.x allows all).
	CORS []string

	// Now is the wall clock that expirations are reckoned from; nil means
	// time.Now. Whether a key is due is not decided by it (design §5).
	Now func() time.Time
}

// Server answers clients on behalf of one member. Its methods may be called
// from many goroutines at once.
type Server struct {
	backend     Backend
	config      Config
	log         zerolog.Logger
	http        *http.Server
	versions    []byte // the answer to /version
	bodyTimeout time.Duration
	validator   *validator.Validate // of bodies in JSON

	backups chan struct{} // holds one for each backup being served

	// clusterID is the value of X-Etcd-Cluster-Id, shared by all answers.
	clusterID []string

	// closing is done when Close begins. It ends waiting, and nothing else:
	// requests have until the end of Close to finish.
	closing context.Context
	close   context.CancelFunc

	parked      *park.Lot // watches
	serveParked sync.Once
	serving     sync.WaitGroup // of what comes back from parked

	// cut ends the context of every request.
	cut context.CancelFunc
}

// NewServer returns a Server that serves b, which must know its cluster's id
// already. Nothing is served before Serve.
func NewServer(b Backend, c Config) *Server {
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = defaultMaxValueBytes
	}
	if c.Version == "" {
		c.Version = defaultVersion
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{
		backend:     b,
		config:      c,
		log:         c.Logger.With().Str("component", "httpapi").Logger(),
		versions:    encodeVersions(c.Version),
		bodyTimeout: bodyTimeout,
		backups:     make(chan struct{}, maxBackups),
		validator:   newValidator(),
		clusterID:   []string{strconv.FormatUint(b.Status().ClusterID, 16)},
	}
	s.closing, s.close = context.WithCancel(context.Background())
	base, cut := context.WithCancel(context.Background())
	s.cut = cut
	handler := s.routes()
	s.parked = park.New(park.Config{
		Handler:       handler,
		Context:       base,
		Encode:        encodeEvent,
		WriteTimeout:  writeTimeout,
		HeaderTimeout: readHeaderTimeout,
		IdleTimeout:   idleTimeout,
		Logger:        s.log,
	})
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState:         clearWriteDeadline,
		ErrorLog:          log.New(errorLog{s.log}, "", 0),
	}
	return s
}

// Serve accepts connections from l until Close, closes l and returns nil, or
// returns the error that broke l. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.serveParked.Do(func() {
		// It cannot break, only end.
		s.serving.Go(func() { _ = s.http.Serve(s.parked.Listener()) })
	})
	if err := s.http.Serve(s.parked.Admit(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close refuses new connections, ends all watches and waits for the other
// requests to finish. When ctx ends first, what is left is cut off and the
// error is ctx's.
func (s *Server) Close(ctx context.Context) error {
	s.close()
	watches := make(chan error, 1)
	go func() { watches <- s.parked.Close(ctx) }()
	err := s.http.Shutdown(ctx)
	s.cut()
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.serving.Wait()
	return errors.Join(err, <-watches)
}

// clearWriteDeadline takes back the write deadline that a watch or a large
// answer has set, before the connection's next request (response.go).
func clearWriteDeadline(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		// An error here means a broken connection, which the next read meets.
		_ = c.SetWriteDeadline(time.Time{})
	}
}

// errorLog passes on what net/http has to say about connections.
type errorLog struct{ log zerolog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.log.Warn().Msg(string(bytes.TrimSpace(p)))
	return len(p), nil
}
