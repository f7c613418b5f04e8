package msgbus

import (
	"crypto/sha256"
	"time"

	"busd/bus"
)

// An ask is what a hello says of the session that the client wants.
type ask struct {
	sessions bool // the client keeps a session
	id       string
	token    []byte
	seen     uint64
	credit   int
	move     bool // from a connection that is still there
}

// A claim is what came of it.
type claim struct {
	resumed bool
	reason  string // why not, if one was asked for
	token   []byte // to come back with; nil: there is no session to come back to
	// older is the identity's newest connection until now; last the session that has
	// to end; carrier the last connection that carried it, or the one that goes on.
	// Each is nil if there is none.
	older, carrier *Conn
	last           *agentSession
	move           bool // from the carrier, which is still there
}

// cameBack is why a connection ends when its client comes with another.
func cameBack() *bus.Error {
	return bus.Errorf(bus.CodeUnavailable, "the client came back on another connection")
}

// claim makes c the newest connection of its identity, with the session that it
// goes on with or a new one, unless the service lets the older win.
func (r *registry) claim(c *Conn, a ask, begin func(s *agentSession)) (claim, *bus.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := holder{c.service, c.identity}
	// held may have ended, and OnDrop or OnGone run for it: then what comes next
	// waits for that.
	older, held := r.newest[h], r.store.of(h)
	resumed, err := r.matchLocked(h, held, a)
	if err != nil {
		return claim{}, err
	}
	if !resumed && older != nil && c.service.Duplicate == OlderWins && older.link.Cause() == nil {
		return claim{older: older}, bus.Errorf(bus.CodeAlreadyExists, "%s is connected already", c.identity)
	}
	if !resumed && older != nil && older.link.Cause() == nil {
		if err := r.takeovers.add(h, time.Now()); err != nil {
			return claim{}, err
		}
	}
	got := claim{resumed: resumed, older: older}
	if held != nil {
		got.carrier = held.conn
	}
	if resumed {
		got.move = a.move && held.conn.link.Cause() == nil
		got.token = r.resumeLocked(held, a.token)
	} else {
		got.last = held
		if held != nil && held.stream.Cause() == nil {
			r.store.ended(held, reasonUnknown) // its client may ask before its end is through
		}
		if a.id != "" {
			got.reason = r.whyLocked(h, held, a.id)
		}
		held, got.token = r.beginLocked(c, a)
	}
	held.claims++
	held.holds = c
	c.session, c.resumed = held, resumed
	begin(held)
	r.newest[h] = c
	return got, nil
}

// matchLocked tells whether a hello's session and token are those of the session
// that is held. Who guesses is stopped.
func (r *registry) matchLocked(h holder, held *agentSession, a ask) (bool, *bus.Error) {
	if held == nil || !a.sessions || held.id != a.id || held.window == 0 || held.stream.Cause() != nil {
		return false, nil
	}
	if !held.accepts(sha256.Sum256(a.token)) {
		return false, r.guesses.add(h, time.Now())
	}
	return held.stream.Resumes(a.seen), nil
}

// resumeLocked gives a session a new token. The one that the client brought
// stays good until it has shown that it got the new one.
func (r *registry) resumeLocked(s *agentSession, brought []byte) []byte {
	token, d := newToken()
	s.token, s.last = d, sha256.Sum256(brought)
	s.stopTimerLocked()
	return token
}

// beginLocked makes a session, which takes the place of the identity's last one.
func (r *registry) beginLocked(c *Conn, a ask) (s *agentSession, token []byte) {
	window := max(c.service.Window, 0)
	if !a.sessions {
		window = 0
	}
	s = newSession(r.node.newSession(holder{c.service, c.identity}), c, window, a.credit, r.hoard.grew, r.ended)
	if window > 0 {
		token, s.token = newToken()
	}
	r.store.keep(s)
	r.alive.Add(1)
	return s, token
}

// whyLocked says why a session that was asked for does not go on.
func (r *registry) whyLocked(h holder, held *agentSession, id string) string {
	if held != nil && held.id == id { // it is there: the token or the numbers are not right, or it has just ended
		if why := held.stream.Cause(); why != nil {
			return reasonOf(why)
		}
		return reasonUnknown
	}
	if why := r.store.whyGone(id); why != "" && r.node.whyUnknown(id, h) == reasonExpired { // else it was another's
		return why
	}
	return r.node.whyUnknown(id, h)
}

// heard takes note of the client's first frame on a connection: it has the token
// of its welcome, and the one before is spent.
func (r *registry) heard(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.session.holds == c {
		c.session.last = digest{}
	}
}
