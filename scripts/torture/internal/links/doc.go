// Package links is the network between the members of a cluster, which can be made bad.
//
// A front stands before each member's peer port, and the member advertises the front. Connections tell by the head of
// their first request which member made them (witan's and etcd's transports both send the sender's id), so that each direction
// between two members can be harmed by itself: bytes vanish, wait, are late or few, connections are reset or end
// unheard. Harms are layers that are laid on and taken off again in any order.
package links
