package model_test

import (
	"fmt"
	"time"

	"busd/bus"
	"busd/msgbus"
)

// A roll is what a service has seen of one identity.
type roll struct {
	visits   []*visit
	sessions []*session
	desk     *desk // what is sent to it
	handlers *desk // what its handlers send
}

// A session is what its service knows of it. It is the state of its connections.
type session struct {
	house    *house
	identity bus.Identity
	n        int

	// Guarded by the ledger's mu.
	accepted        bool
	conn            *msgbus.Conn // the last that was accepted
	running, beside int
	gone            int
	goneAt          time.Time
	why             error
	since           time.Time // accepted
	hung            bool      // the next one did not wait for its end
}

// String names a session.
func (s *session) String() string {
	return fmt.Sprintf("session %d of %s at %s", s.n, s.identity, s.house.name)
}

// A visit is one connection as its service sees it.
type visit struct {
	trid    bus.TRID
	session *session
	dial    *dial
	stage   stage
	hung    bool // as a session's
}

// A stage is how far a visit has come.
type stage uint8

const (
	asking stage = iota // OnConnect runs
	refused
	welcome // OnConnect has accepted it
	leaving // OnDrop runs
	left
)

func (e *house) rollLocked(id bus.Identity) *roll {
	r := e.rolls[id]
	if r == nil {
		name := fmt.Sprintf("%s for %s", e.name, id)
		r = &roll{desk: e.h.newDesk(name), handlers: &desk{name: name + "'s handlers"}}
		e.rolls[id] = r
	}
	return r
}

// mayBeginLocked sees whether everything of the identity's last connection, and of
// its last session, is over, as it must be but for a move, or after patience. What
// was not waited for once never is.
func (e *house) mayBeginLocked(r *roll, v *visit, resumed bool) {
	b := e.h.ledger
	for _, o := range r.visits {
		switch {
		case o.stage == refused || o.stage == left || o.hung:
		case resumed && v.dial.move && o.session == v.session, e.waitedLocked(v):
			o.hung = true
		default:
			b.breachLocked("OnConnect of %v (%v, resumed %t) before OnDrop of %v (%v) has returned", v.dial, v.session, resumed, o.dial, o.session)
		}
	}
	for _, s := range r.sessions {
		switch {
		case s == v.session || !s.accepted || s.gone > 0 || s.hung:
		case e.waitedLocked(v):
			s.hung = true
		default:
			b.breachLocked("OnConnect of %v (%v) before OnGone of %v", v.dial, v.session, s)
		}
	}
}

const (
	// patience is how long OnConnect waits for what is left of the last connection.
	patience = 5 * time.Second
	// helloLimit is how long a dial may take until its hello is read.
	helloLimit = time.Minute
)

// waitedLocked tells whether a visit has waited long enough for what is there of
// its identity; or one that never came to OnConnect, because this one took its
// place.
func (e *house) waitedLocked(v *visit) bool {
	for _, d := range e.h.dials {
		age := time.Since(d.began)
		if d.house == e && d.agent.identity == v.dial.agent.identity && (d == v.dial || !d.visits) && age >= patience && age < helloLimit {
			return true
		}
	}
	return e.stopping
}

// overLocked returns the session of which nothing is left to come but OnGone: one
// whose handlers hang may be passed by the next.
func (r *roll) overLocked() (over *session) {
	for _, s := range r.sessions {
		if s.gone == 0 && s.accepted && r.allLeftLocked(s) && (over == nil || over.running+over.beside > 0) {
			over = s
		}
	}
	return over
}

// allLeftLocked tells whether all connections of a session are over.
func (r *roll) allLeftLocked(s *session) bool {
	for _, v := range r.visits {
		if v.session == s && v.stage != left && v.stage != refused {
			return false
		}
	}
	return true
}
