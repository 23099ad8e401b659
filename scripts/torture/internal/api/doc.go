// Package api speaks etcd's v2 key API as a suspicious client does.
//
// It retries nothing, keeps one connection, and tells an answer that proves a write had no effect from one that proves nothing.
package api
