package msgbus

import (
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/keys"
)

// CredentialsChanged ends, with [bus.CodeCertificateRevoked], the connections of
// clients whose certificate was revoked or denied, by what [access.Caller]'s
// Credential says, and their sessions, those at rest too. The others notice
// nothing. It is to be called after what was revoked has changed, and returns how
// many connections and sessions it has ended; they are gone within goodbyes' 2 s.
func (s *Server) CredentialsChanged() (conns, sessions int) {
	for _, each := range s.registry.held() {
		if why := revoked(&each.conn.caller); why != nil {
			if s.registry.revoke(each, why) {
				sessions++
			}
			if each.live {
				conns++
				s.log.Info("certificate revoked", keys.Service(each.conn.service.Name()), keys.TRID(each.conn.trid),
					keys.Identity(each.conn.identity), keys.Peer(each.conn.caller.Peer), keys.Certificate(each.conn.caller.Peer), keys.Reason(why))
			}
		}
	}
	return conns, sessions
}

// revoked says why a client's certificate is good no more; nil: it is.
func revoked(c *access.Caller) *bus.Error {
	if c.Credential == nil {
		return nil
	}
	return c.Credential.Revoked()
}

// A holding is a connection, and whether it lives: else it is the last that its
// session had, which waits for the next.
type holding struct {
	conn *Conn
	live bool
}

// held returns every connection, those that are not welcomed yet among them, and
// the last connections of sessions at rest.
func (r *registry) held() []holding {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[*Conn]struct{}, len(r.newest))
	for _, c := range r.byTRID {
		all[c] = struct{}{}
	}
	for _, c := range r.newest {
		all[c] = struct{}{}
	}
	for _, m := range r.members {
		for s := range m.sessions {
			if s.conn != nil {
				all[s.conn] = struct{}{}
			}
		}
	}
	list := make([]holding, 0, len(all))
	for c := range all {
		list = append(list, holding{c, c.link.Cause() == nil})
	}
	return list
}

// revoke ends a connection, and its session unless another connection has taken
// that over. It tells whether it has ended a session.
func (r *registry) revoke(h holding, why *bus.Error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := h.conn
	mine := c.session.conn == c && c.session.stream.Cause() == nil
	if mine {
		c.session.stream.End(why)
	}
	if h.live {
		c.link.Drop(why) // does nothing to one that has ended with its session
		time.AfterFunc(goodbyeWait, c.link.Abort)
	}
	return mine
}

// recredit drops a connection whose certificate was revoked while it was being
// welcomed.
func (s *Server) recredit(c *Conn) {
	if why := revoked(&c.caller); why != nil {
		s.registry.revoke(holding{c, true}, why)
	}
}
