package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

const (
	// hurry is the pause between two looks while a member has yet to say where
	// its clients go, and the least one after a member has failed.
	hurry = time.Second

	askTimeout     = 5 * time.Second
	maxAnswerBytes = 1 << 20
)

// directory knows who the members are. Whoever is one now can tell.
type directory struct {
	log     zerolog.Logger
	client  *http.Client
	line    *line
	refresh time.Duration
	file    string // "" = none
	soon    chan struct{}

	// Of follow's goroutine alone.
	peers   []string
	saved   []string // what file holds, as far as we know
	partial bool     // there is a member that cannot be in the line yet
	silent  bool     // no member has answered, and that was said
	found   bool     // a member has answered before
}

func newDirectory(g *Gateway) *directory {
	return &directory{
		log:     g.log,
		client:  g.client,
		line:    g.line,
		refresh: g.config.Refresh,
		file:    g.config.File,
		soon:    make(chan struct{}, 1),
		peers:   g.config.PeerURLs,
		partial: true,
	}
}

// lookSoon asks for a look at the list of members before it is time: the one
// that failed may be a member no longer.
func (d *directory) lookSoon() {
	select {
	case d.soon <- struct{}{}:
	default: // somebody has asked already
	}
}

// follow keeps the line up to date until ctx ends.
func (d *directory) follow(ctx context.Context) {
	for ctx.Err() == nil {
		d.look(ctx)
		pause := d.refresh
		if d.partial {
			pause = min(pause, hurry)
		}
		d.rest(ctx, pause)
	}
}

// rest returns after the pause, or when somebody asked for a look and the last
// one is long enough ago.
func (d *directory) rest(ctx context.Context, pause time.Duration) {
	enough := time.NewTimer(min(pause, hurry))
	defer enough.Stop()
	select {
	case <-ctx.Done():
		return
	case <-enough.C:
	}
	rest := time.NewTimer(max(0, pause-hurry))
	defer rest.Stop()
	select {
	case <-ctx.Done():
	case <-d.soon:
	case <-rest.C:
	}
}

// look asks one member after the other for the list, and takes the first.
func (d *directory) look(ctx context.Context) {
	var errs []error
	for _, peer := range d.peers {
		members, err := d.ask(ctx, peer)
		if err == nil {
			d.learn(members)
			return
		}
		errs = append(errs, err)
	}
	if ctx.Err() == nil && !d.silent {
		d.silent = true // once; it would be a line a second
		d.log.Warn().Err(errors.Join(errs...)).Strs("peer-urls", d.peers).Msg("proxy: no member tells who the members are; trying again")
	}
}

// member is one as the peer port shows it (contract §4.1).
type member struct {
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// list is what a member says of all of them.
type list struct {
	peers   []string // sorted
	clients []url.URL
	partial bool // one has not started
}

// ask reads the list of members from one of them.
func (d *directory) ask(ctx context.Context, peer string) (list, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peer+"/members", nil)
	if err != nil {
		return list{}, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return list{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return list{}, fmt.Errorf("%s/members: %s", peer, resp.Status)
	}
	var members []member
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswerBytes)).Decode(&members); err != nil {
		return list{}, fmt.Errorf("%s/members: %w", peer, err)
	}
	return read(peer, members)
}

// read takes what is of use from a list of members. One without client URLs
// has not started.
func read(peer string, members []member) (list, error) {
	var l list
	for _, m := range members {
		l.peers = append(l.peers, m.PeerURLs...)
		l.partial = l.partial || len(m.ClientURLs) == 0
		for _, raw := range m.ClientURLs {
			u, err := url.Parse(raw)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				continue // a socket of that machine, perhaps
			}
			if c := (url.URL{Scheme: u.Scheme, Host: u.Host}); !slices.Contains(l.clients, c) {
				l.clients = append(l.clients, c)
			}
		}
	}
	if len(l.clients) == 0 || len(l.peers) == 0 {
		return l, fmt.Errorf("%s/members: no member has told its client URLs yet", peer)
	}
	slices.Sort(l.peers)
	return l, nil
}

// learn puts the members into the line and their peer URLs into the file.
func (d *directory) learn(l list) {
	changed := d.line.update(l.clients)
	endpoints := texts(d.line.candidates())
	switch {
	case !d.found: // the words other projects' suites wait for (contract §5.9)
		d.log.Info().Msgf("proxy: endpoints found %q", endpoints)
	case changed:
		d.log.Info().Msgf("proxy: endpoints changed %q", endpoints)
	case d.silent:
		d.log.Info().Msgf("proxy: endpoints found again %q", endpoints)
	}
	d.found, d.silent = true, false
	d.peers, d.partial = l.peers, l.partial
	if d.file == "" || slices.Equal(d.saved, l.peers) {
		return
	}
	if err := savePeers(d.file, l.peers); err != nil {
		d.log.Warn().Err(err).Msg("the members are not remembered for the next start")
		return
	}
	d.saved = l.peers
}
