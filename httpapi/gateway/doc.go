// Package gateway forwards the v2 API to the members of a cluster, for clients
// that should need to know one address only (contract §5.8). It keeps no data
// beside the list of members it begins with.
//
// An answer goes to the client as it comes, the head of a watch and each event
// of a stream at once. Where etcd's proxy sends whatever failed to the next
// member, this one repeats a write only if it certainly did not arrive: done
// twice, a POST makes two keys and a compare-and-swap fails on its own work.
//
// Its parts: gateway.go starts and stops, handler.go answers or forwards a
// request, stream.go is about answers that take long, forward.go chooses the
// member, line.go is the order in which they are tried, members.go learns who
// they are, health.go looks after them, saved.go remembers them.
package gateway
