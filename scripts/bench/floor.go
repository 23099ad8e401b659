package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
)

// floorCommand is the sub-command that serves the floor.
const floorCommand = "floor"

// floorAnswer looks like etcd's answer to a PUT of a 64-byte value over
// another one.
const floorAnswer = `{"action":"set","node":{"key":"/bench-0/key-000000000000",` +
	`"value":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv","modifiedIndex":1000000,"createdIndex":1000000},` +
	`"prevNode":{"key":"/bench-0/key-000000000000",` +
	`"value":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv","modifiedIndex":999999,"createdIndex":999999}}` + "\n"

// serveFloor serves an empty handler behind chi until ctx ends: it routes,
// drops the body and answers with etcd's headers and a constant. No server on
// net/http and chi can be cheaper.
func serveFloor(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench "+floorCommand, flag.ContinueOnError)
	fs.SetOutput(stderr)
	listen := fs.String("listen", "127.0.0.1:0", "the `address` to listen on")
	if err := fs.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: floorHandler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func floorHandler() http.Handler {
	body := []byte(floorAnswer)
	var (
		length  = []string{strconv.Itoa(len(body))}
		jsonDoc = []string{"application/json"}
		cluster = []string{"cdf818194e3a8c32"}
		index   = []string{"1000000"}
		term    = []string{"2"}
	)
	r := chi.NewRouter()
	r.HandleFunc("/v2/keys/*", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a client that is gone does not matter here
		h := w.Header()
		h["Content-Type"], h["Content-Length"] = jsonDoc, length
		h["X-Etcd-Cluster-Id"], h["X-Etcd-Index"], h["X-Raft-Index"], h["X-Raft-Term"] = cluster, index, index, term
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
	})
	return r
}
