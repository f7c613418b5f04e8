package msgbus

import (
	"container/list"
	"sync"
	"sync/atomic"

	"busd/bus"
)

// Bounds of what sessions without a connection may keep.
const (
	// DefaultMaxSessionMemory bounds it for a server, in bytes; one peer's may
	// take a quarter of that.
	DefaultMaxSessionMemory = 64 << 20
	peerShare               = 4
)

// A hoard bounds what sessions keep that nothing carries: beyond the bound those
// end that have kept something for longest. It bounds their number too.
type hoard struct {
	// Fixed at creation.
	node, peer bound

	mu sync.Mutex
	// Guarded by mu.
	all   shelf
	peers map[string]*shelf

	overflowed atomic.Uint64 // sessions that it has ended
}

// A bound is what a shelf may hold.
type bound struct{ bytes, sessions int }

// A shelf is what the sessions at rest of a node, or of one of its peers, take.
type shelf struct {
	bytes   int
	resting list.List // of *agentSession, those first that have rested for longest
	keeping list.List // those of them that keep something, as above
}

// A place is where a session stands on a shelf; nil: it does not.
type place struct{ resting, keeping *list.Element }

// A rest is what a hoard knows of a session.
type rest struct {
	bytes  int
	ends   bool // it is told to, and not counted any more
	ofAll  place
	ofPeer place
}

func newHoard(cfg Config) *hoard {
	return &hoard{
		node:  bound{cfg.MaxSessionMemory, cfg.MaxConns},
		peer:  bound{cfg.MaxSessionMemory / peerShare, cfg.MaxConnsPerPeer},
		peers: map[string]*shelf{},
	}
}

// rests counts a session in: nothing carries it.
func (h *hoard) rests(s *agentSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.rest.ends || s.rest.ofAll.resting != nil {
		return
	}
	mine := h.shelfLocked(s.peer)
	s.rest.ofAll.resting = h.all.resting.PushBack(s)
	s.rest.ofPeer.resting = mine.resting.PushBack(s)
	h.keepsLocked(s, mine)
	h.boundLocked(s.peer, mine)
}

// wakes counts a session out: something carries it, or it has ended.
func (h *hoard) wakes(s *agentSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.shelfLocked(s.peer)
	h.takeLocked(s, mine)
	h.clearLocked(s.peer, mine)
}

// grew is told how many bytes more a session keeps that nothing carries. It is
// called by the session's stream.
func (h *hoard) grew(s *agentSession, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.rest.ends {
		return
	}
	mine := h.shelfLocked(s.peer)
	h.countLocked(s, mine, bytes)
	h.keepsLocked(s, mine)
	h.boundLocked(s.peer, mine)
}

func (h *hoard) countLocked(s *agentSession, mine *shelf, bytes int) {
	s.rest.bytes += bytes
	mine.bytes += bytes
	h.all.bytes += bytes
}

// keepsLocked gives a session at rest its place among those that keep something,
// or takes it away.
func (h *hoard) keepsLocked(s *agentSession, mine *shelf) {
	keeps := s.rest.bytes > 0 && s.rest.ofAll.resting != nil
	switch at := &s.rest; {
	case keeps && at.ofAll.keeping == nil:
		at.ofAll.keeping = h.all.keeping.PushBack(s)
		at.ofPeer.keeping = mine.keeping.PushBack(s)
	case !keeps && at.ofAll.keeping != nil:
		h.all.keeping.Remove(at.ofAll.keeping)
		mine.keeping.Remove(at.ofPeer.keeping)
		at.ofAll.keeping, at.ofPeer.keeping = nil, nil
	}
}

// takeLocked takes a session away, if it is there.
func (h *hoard) takeLocked(s *agentSession, mine *shelf) {
	if at := &s.rest; at.ofAll.resting != nil {
		h.all.resting.Remove(at.ofAll.resting)
		mine.resting.Remove(at.ofPeer.resting)
		at.ofAll.resting, at.ofPeer.resting = nil, nil
	}
	h.keepsLocked(s, mine)
}

func (h *hoard) shelfLocked(peer string) *shelf {
	mine := h.peers[peer]
	if mine == nil {
		mine = new(shelf)
		h.peers[peer] = mine
	}
	return mine
}

// clearLocked keeps nothing of a peer of which nothing rests.
func (h *hoard) clearLocked(peer string, mine *shelf) {
	if mine.bytes == 0 && mine.resting.Len() == 0 {
		delete(h.peers, peer)
	}
}

// boundLocked ends what is too much, of a peer and of all.
func (h *hoard) boundLocked(peer string, mine *shelf) {
	h.withinLocked(mine, h.peer)
	h.withinLocked(&h.all, h.node)
	h.clearLocked(peer, mine)
}

func (h *hoard) withinLocked(where *shelf, most bound) {
	for where.bytes > most.bytes && where.keeping.Len() > 0 {
		h.endLocked(where.keeping.Front())
	}
	for where.resting.Len() > most.sessions {
		h.endLocked(where.resting.Front())
	}
}

// endLocked ends a session. What it keeps is not counted any more.
func (h *hoard) endLocked(at *list.Element) {
	s, _ := at.Value.(*agentSession) // nothing else is put there
	mine := h.shelfLocked(s.peer)
	s.rest.ends = true
	h.overflowed.Add(1)
	h.countLocked(s, mine, -s.rest.bytes)
	h.takeLocked(s, mine)
	h.clearLocked(s.peer, mine)
	// Its stream may be the one that has grown, and holds its lock.
	go s.stream.End(bus.Errorf(bus.CodeSlowConsumer, "no room for what waits for clients that are away"))
}

// SessionsOverflowed returns how many sessions have ended, while their clients were
// away, because they kept too much, or were too many.
func (s *Server) SessionsOverflowed() uint64 { return s.registry.hoard.overflowed.Load() }

// total returns how many sessions rest, and how many bytes they keep.
func (h *hoard) total() (sessions, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.resting.Len(), h.all.bytes
}
