package rpc

import (
	"context"
	"sync"
)

// peersPart is the part of a room that one peer may have: one of so many. All whom
// nobody knows are one peer.
const peersPart = 4

// A room counts what calls hold of something that there is not more of than most.
// Its methods may be called concurrently.
type room struct {
	most int64 // fixed at creation

	mu    sync.Mutex
	all   int64
	of    map[string]int64 // by peers' names; those who hold nothing are not in it
	freed chan struct{}    // closed when something is given back; nil: nobody waits
}

// take asks for n more for a peer's call that then holds total; whoever gets them
// gives them back. A call that wants more than there is, or than is its peer's
// part, gets it while nothing else is held.
func (r *room) take(peer string, n, total int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(peer, n, total)
}

func (r *room) takeLocked(peer string, n, total int64) bool {
	if r.all+n > max(r.most, total) || r.of[peer]+n > max(r.most/peersPart, total) {
		return false
	}
	if r.of == nil {
		r.of = map[string]int64{}
	}
	r.all += n
	r.of[peer] += n
	return true
}

// await is take for a call that holds nothing yet; it waits until ctx has ended.
func (r *room) await(ctx context.Context, peer string, n int64) bool {
	for {
		r.mu.Lock()
		got := r.takeLocked(peer, n, n)
		if !got && r.freed == nil {
			r.freed = make(chan struct{})
		}
		freed := r.freed
		r.mu.Unlock()
		if got {
			return true
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (r *room) give(peer string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all -= n
	if r.of[peer] -= n; r.of[peer] == 0 {
		delete(r.of, peer)
	}
	if r.freed != nil {
		close(r.freed)
		r.freed = nil
	}
}
