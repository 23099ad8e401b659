// Package peer carries raft between members over HTTP connections that are
// upgraded on the peer port, where /members, /version and /join are served as well.
//
// It takes the place of Dragonboat's own TCP transport, which a 20-byte packet
// crashes and whose handshakes block its accept loop (reliability §0). Here no
// byte of raft is read before the caller has shown that it belongs to this
// cluster and means this member, frames are capped and checksummed, and every
// connection is handled in a goroutine of its own with deadlines.
package peer
