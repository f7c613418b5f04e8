package msgbus

import (
	"time"

	"busd/bus"
)

// left takes note of the end of a connection that carried its session: now the
// client has its window to come back.
func (r *registry) left(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.session.conn == c {
		r.restLocked(c.session)
	}
}

// turnedAway takes note that c, which wanted to carry its session, will not.
func (r *registry) turnedAway(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restLocked(c.session) // where c has stopped its window, it runs on
}

// restLocked lets the window of a session run, or run on, that nothing carries;
// but not while a connection of its client's is on its way.
func (r *registry) restLocked(s *agentSession) {
	if s.window == 0 || s.conn == nil || s.conn.link.Cause() == nil || s.stream.Cause() != nil {
		return
	}
	if s.deadline.IsZero() {
		s.deadline = time.Now().Add(s.window)
	}
	if next := r.newest[s.holder()]; next != nil && next.link.Cause() == nil {
		return
	}
	s.stopTimerLocked()
	s.timer = time.AfterFunc(max(0, time.Until(s.deadline)), func() { r.expire(s) })
	r.hoard.rests(s)
}

// expire ends a session whose client has not come back.
func (r *registry) expire(s *agentSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.timer == nil || time.Now().Before(s.deadline) { // it came in this moment
		return
	}
	s.stream.End(bus.Errorf(bus.CodeSessionLost, "the client did not come back within %s", s.window))
}

func (s *agentSession) stopTimerLocked() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// accepts takes note that OnConnect has accepted c: the end of its session is
// the service's business.
func (r *registry) accepts(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.session.accepted = true
}

// over takes note that no callback of the service runs for c any more. It returns
// once OnGone has, if that was the end of its session too.
func (r *registry) over(c *Conn) {
	r.mu.Lock()
	h, s := c.session.holder(), c.session
	if r.newest[h] == c {
		delete(r.newest, h)
		if s.conn != nil && s.conn != c && s.conn.link.Cause() == nil {
			r.newest[h] = s.conn // c was to take its place, and did not
		}
	}
	s.claims--
	r.restLocked(s)
	r.mu.Unlock()
	c.args.Store(nil)
	close(c.gone)
	r.finish(s)
}

// ended takes note of the end of a session.
func (r *registry) ended(s *agentSession) {
	r.mu.Lock()
	s.stopTimerLocked()
	r.hoard.wakes(s)
	r.store.ended(s, reasonOf(s.stream.Cause()))
	m := r.ofLocked(s.service)
	delete(m.sessions, s)
	m.sessionList = nil
	m.past.Add(s.stream.Counts())
	r.mu.Unlock()
	s.service.groups.leave(s)
	s.stream.Quiet() // OnGone comes after the last of the handlers
	r.mu.Lock()
	s.ended = true
	r.mu.Unlock()
	r.finish(s)
}

// finish runs what there is to run after a session's end, once no connection of
// it is left.
func (r *registry) finish(s *agentSession) {
	r.mu.Lock()
	done := s.claims == 0 && s.ended && !s.finished
	if done {
		s.finished = true
	}
	accepted := s.accepted
	r.mu.Unlock()
	if !done {
		return
	}
	if accepted {
		r.onGone(s)
	}
	r.mu.Lock()
	r.store.forget(s) // not before: the identity's next session waits for this
	r.mu.Unlock()
	close(s.gone)
	r.alive.Done()
}
