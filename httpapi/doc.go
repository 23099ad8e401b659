// Package httpapi serves etcd's v2 API over HTTP.
//
// A request is parsed once into a typed command, read or watch, handed to the
// Backend, and its answer rendered: three steps, nothing between them. The
// wire format is the v2 contract's to the byte where clients can tell; where
// we part from etcd, the code says so and why.
//
// Its parts: server.go starts and stops, routes.go is the table of paths,
// path.go turns a path into a key, form.go and request.go parse parameters,
// keys.go and watch.go serve the key space, encode.go writes its JSON,
// response.go its headers, errors.go maps error codes to statuses. members.go
// shows the members, memberchange.go changes them, peerurls.go reads what a
// change asks for. The other endpoints have a file each.
package httpapi
