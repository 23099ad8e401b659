package main

import "sync"

// roster is where clients find the members. A member keeps its number for ever, which is also that
// of its process; one that has left has no address any more. It is safe for concurrent use.
type roster struct {
	mu   sync.RWMutex
	urls []string // "" of those that have left
}

func (r *roster) add(url string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urls = append(r.urls, url)
}

func (r *roster) leave(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urls[i] = ""
}

func (r *roster) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.urls)
}

// url is the address of a member, "" when it has left.
func (r *roster) url(i int) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.urls[i]
}

// after is the number of the next member that has an address, i itself when no other has.
func (r *roster) after(i int) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for step := 1; step < len(r.urls); step++ {
		if next := (i + step) % len(r.urls); r.urls[next] != "" {
			return next
		}
	}
	return i
}
