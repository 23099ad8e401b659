// Package discovery finds the first members of a cluster for a process that
// does not know them: with the help of a discovery service, which is any server
// of the v2 API (contract §5.5), or in DNS (contract §5.6).
//
//	register.go  the protocol: register, wait for the others
//	service.go   what is asked of the service over HTTP
//	peers.go     what members say of themselves
//	dns.go       SRV records
//	backoff.go   pauses between attempts
package discovery
