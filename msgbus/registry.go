package msgbus

import (
	"sync"
	"time"

	"busd/bus"
	"busd/internal/link"
)

// registry knows who is connected to this node, and whose session waits for him
// here. The rules for an identity that connects again live here and in claim.go,
// and nowhere else. With its mu held streams and links may be asked and told;
// what they call with their own held must not come back here.
type registry struct {
	// Fixed at creation.
	node   nodeID
	hoard  *hoard
	onGone func(s *agentSession) // runs the service's callback
	alive  sync.WaitGroup        // one for each session that has begun, until all of it is over

	mu sync.Mutex
	// Guarded by mu.
	store              sessionStore
	guesses, takeovers strikes
	byTRID             map[bus.TRID]*Conn // welcomed, or about to be
	newest             map[holder]*Conn   // from the hello on
	members            map[*Service]*members
}

// holder is what one connection at a time may hold.
type holder struct {
	service  *Service
	identity bus.Identity
}

// members are a service's connections and sessions.
type members struct {
	conns    map[*Conn]struct{}
	sessions map[*agentSession]struct{} // that were welcomed
	past     link.Counts                // of those that have ended
	// Made when asked for; must not be changed.
	connList    []*Conn
	sessionList []*agentSession
}

func newRegistry(cfg Config, onGone func(*agentSession)) *registry {
	return &registry{
		node:    newNodeID(cfg.Node),
		guesses: newStrikes(maxGuesses, "too many wrong tokens"), takeovers: newStrikes(maxTakeovers, "too many clients take this identity from each other"),
		hoard: newHoard(cfg), onGone: onGone, store: newMemoryStore(),
		byTRID: map[bus.TRID]*Conn{}, newest: map[holder]*Conn{}, members: map[*Service]*members{},
	}
}

// ofLocked returns what is known of a service.
func (r *registry) ofLocked(s *Service) *members {
	m := r.members[s]
	if m == nil {
		m = &members{conns: map[*Conn]struct{}{}, sessions: map[*agentSession]struct{}{}}
		r.members[s] = m
	}
	return m
}

// carry lets c carry its session, instead of the connection that did, and makes
// it known to senders. It fails, and nothing changes, if the session or the
// connection has ended, or if a newer connection of the identity has come.
func (r *registry) carry(c *Conn, start link.Start) *bus.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := c.session
	if r.newest[s.holder()] != c {
		return cameBack()
	}
	start.Offered = s.stream.Seen()
	if err := c.link.Open(start); err != nil {
		return err
	}
	m := r.ofLocked(c.service)
	if s.conn != nil {
		delete(m.conns, s.conn) // one that its client moves away from
	}
	s.conn, s.deadline = c, time.Time{}
	s.stopTimerLocked()
	r.hoard.wakes(s)
	r.byTRID[c.trid] = c
	m.conns[c], m.connList = struct{}{}, nil
	m.sessions[s], m.sessionList = struct{}{}, nil
	return nil
}

// remove makes c unknown to senders. Its session stays known.
func (r *registry) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byTRID, c.trid)
	m := r.ofLocked(c.service)
	delete(m.conns, c)
	m.connList = nil
}

func (r *registry) conn(t bus.TRID) (*Conn, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.byTRID[t]
	return c, ok
}

// identity returns the session of an identity that was welcomed, connected or
// not.
func (r *registry) identity(s *Service, i bus.Identity) (*agentSession, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.store.of(holder{s, i})
	return found, found != nil && found.accepted && found.stream.Cause() == nil
}

// connOf returns the connection that carries a session, or nil.
func (r *registry) connOf(s *agentSession) *Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.conn == nil || r.byTRID[s.conn.trid] != s.conn {
		return nil
	}
	return s.conn
}

// conns returns a service's connections; the caller must not change the list.
func (r *registry) conns(s *Service) []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.ofLocked(s)
	if m.connList == nil {
		m.connList = keysOf(m.conns)
	}
	return m.connList
}

// sessions returns a service's sessions, those without a connection too; the
// caller must not change the list.
func (r *registry) sessions(s *Service) []*agentSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessionsLocked(s)
}

func (r *registry) sessionsLocked(s *Service) []*agentSession {
	m := r.ofLocked(s)
	if m.sessionList == nil {
		m.sessionList = keysOf(m.sessions)
	}
	return m.sessionList
}

func keysOf[K comparable](set map[K]struct{}) []K {
	list := make([]K, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	return list
}

// all returns every connection of this node.
func (r *registry) all() []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Conn, 0, len(r.byTRID))
	for _, c := range r.byTRID {
		all = append(all, c)
	}
	return all
}

// allSessions returns every session of this node that was welcomed.
func (r *registry) allSessions() (all []*agentSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		all = append(all, keysOf(m.sessions)...)
	}
	return all
}

// away returns the sessions of clients that are away, and of which none is about
// to come back.
func (r *registry) away() (away []*agentSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		for s := range m.sessions {
			if s.timer != nil {
				away = append(away, s)
			}
		}
	}
	return away
}

// tally returns a service's sessions, as sessions does, with what those before
// them have counted.
func (r *registry) tally(s *Service) ([]*agentSession, link.Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessionsLocked(s), r.ofLocked(s).past
}
