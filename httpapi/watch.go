package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/witan-kv/witan/store"
	"github.com/witan-kv/witan/watch"
)

// watch serves a long poll or, with stream=true, a stream of events. The
// answer's head is sent at once; the events follow when they happen, for as
// long as the client stays (contract §2.1). A watch that ends without an event
// leaves an empty body, which clients take as a reason to ask again.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, key store.Key, p *params) {
	watcher, answer, err := s.backend.Watch(r.Context(), watch.Request{
		Key: key, Recursive: p.recursive, Stream: p.stream, From: p.waitIndex,
	})
	if err != nil {
		s.writeError(w, err)
		return
	}
	defer watcher.Close()
	startAnswer(w.Header(), answer, -1)
	w.WriteHeader(http.StatusOK)
	client := http.NewResponseController(w)
	if client.Flush() != nil {
		return
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	if p.stream {
		s.streamEvents(ctx, w, client, watcher)
		return
	}
	if event := s.nextEvent(ctx, watcher); event != nil {
		writeBody(w, event.Encoded(encodeEvent))
	}
}

// nextEvent waits for the next event. It returns nil when none will come: the
// client or the server goes, or the watcher was ended.
func (s *Server) nextEvent(ctx context.Context, watcher *watch.Watcher) *store.Event {
	event, err := watcher.Next(ctx)
	if err == nil {
		return event
	}
	if ctx.Err() == nil && !errors.Is(err, watch.ErrEnded) {
		s.log.Warn().Err(err).Msg("a watch failed")
	}
	return nil
}

// streamEvents sends events until the client goes, the server closes, or the
// watcher was ended and what it had left is sent. The client has some time for
// each event, but once the hub has given it up no more than for one.
func (s *Server) streamEvents(ctx context.Context, w http.ResponseWriter, client *http.ResponseController, watcher *watch.Watcher) {
	ended := watcher.Ended()
	for {
		event := s.nextEvent(ctx, watcher)
		if event == nil {
			return
		}
		select {
		case <-ended:
		default:
			_ = client.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		if _, err := w.Write(event.Encoded(encodeEvent)); err != nil {
			return
		}
		if client.Flush() != nil {
			return
		}
	}
}
