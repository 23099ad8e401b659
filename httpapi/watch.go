package httpapi

import (
	"context"
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
	// An error means that the client or the server goes, or that the watcher was ended.
	if event, err := watcher.Next(ctx); err == nil {
		writeBody(w, event.Encoded(encodeEvent))
	}
}

// streamEvents sends events until the client goes, the server closes, or the
// watcher was ended and what it had left is sent. The client has some time for
// each event, but once the hub has given it up no more than for one.
func (s *Server) streamEvents(ctx context.Context, w http.ResponseWriter, client *http.ResponseController, watcher *watch.Watcher) {
	ended := watcher.Ended()
	for {
		event, err := watcher.Next(ctx)
		if err != nil {
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
