package msgbus

import (
	"net/http"
	"slices"
	"sync/atomic"

	"busd/access"
	"busd/bus"
	"busd/schema"
)

// groupArg is the connect argument by which a client says in which group it acts.
const groupArg = "group"

// rules are what the service says in code of who may do what.
func (s *Service) rules() (access.Rules, error) {
	r := access.Rules{Default: s.Allow, Connect: s.AllowConnect, Messages: map[string]access.Rule{}, Methods: map[string]access.Rule{}}
	if s.Methods != nil {
		own := s.Methods.Rules()
		r.MethodDefault, r.Common = own.Default, own.Common
		for name := range s.methods {
			r.Methods[name] = own.Methods[name]
		}
	}
	for _, d := range s.Schema.Messages() {
		if d.From != schema.FromService {
			r.Messages[d.Name] = s.Rules[d.Name]
		}
	}
	for name := range s.Rules {
		if _, ok := r.Messages[name]; !ok {
			return r, bus.Errorf(bus.CodeInvalidArgument, "service %s: a rule for %s, which is no message that clients send", s.Name(), name)
		}
	}
	return r, nil
}

// authenticate finds out who sends a request; nobody is the zero Caller.
func (s *Server) authenticate(r *http.Request) (access.Caller, *bus.Error) {
	if s.cfg.Authenticate != nil {
		return s.cfg.Authenticate(r)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return access.Caller{}, nil
	}
	peer, err := s.naming.Peer(*r.TLS)
	if err != nil {
		return access.Caller{}, bus.Wrap(bus.CodePermissionDenied, err, "the certificate has no name that may connect here")
	}
	return access.Caller{
		Peer: peer, Via: access.ViaCertificate, Subject: peer.DN, Issuer: peer.Issuer,
		NotBefore: r.TLS.PeerCertificates[0].NotBefore, NotAfter: peer.NotAfter,
	}, nil
}

// authenticator is what the methods are told of who sends a request: that a
// certificate has the same name by HTTPS. nil is what they do by themselves.
func (s *Server) authenticator() func(*http.Request) (access.Caller, *bus.Error) {
	if s.cfg.Authenticate == nil && len(s.cfg.PeerName) == 0 {
		return nil
	}
	return s.authenticate
}

// knows authenticates who sends a request, and answers it if nobody does: with 401;
// or if his credential is not taken: with 403, unless it says that it is no good.
func (s *Server) knows(w http.ResponseWriter, r *http.Request, enough func(*access.Caller) bool) (access.Caller, bool) {
	c, err := s.authenticate(r)
	switch {
	case err == nil && enough(&c):
		return c, true
	case err == nil && c.Proxied:
		err = bus.Errorf(bus.CodeUnauthenticated, "a client certificate is wanted, and the TLS proxy that the request came through passed none on")
	case err == nil:
		err = bus.Errorf(bus.CodeUnauthenticated, "a client certificate is wanted, and none was given")
	}
	status := http.StatusForbidden
	if err.Code == bus.CodeUnauthenticated {
		status = http.StatusUnauthorized
	}
	s.refuse(w, r, status, err)
	return c, false
}

// mayConnect tells whether somebody can be the peer of a stable connection: what
// a token proves is no certificate, and ends sooner than a connection does.
func mayConnect(c *access.Caller) bool {
	return c.Via == access.ViaCertificate || c.Via == access.ViaProxy
}

// mayRead tells whether somebody may see the contract: everybody who is somebody,
// and where anything is allowed to everybody, everybody.
func (s *Service) mayRead(c *access.Caller) bool {
	if !c.Nobody() {
		return true
	}
	for _, d := range s.Schema.Messages() {
		if d.From == schema.FromService {
			continue
		}
		if _, err := s.guard.Message(d.Name, c, access.Claim{}); err == nil {
			return true
		}
	}
	for _, m := range s.Schema.Methods() {
		if slices.Contains(s.common, m.Name) {
			continue // every service has these: they are no reason to show the others
		}
		if _, err := s.guard.Method(m.Name, c, access.Claim{}); err == nil {
			return true
		}
	}
	return false
}

// claimOf is what a client says of itself in its connect arguments.
func claimOf(args map[string]any) (access.Claim, error) {
	said, ok := args[groupArg]
	if !ok {
		return access.Claim{}, nil
	}
	group, ok := said.(string)
	if !ok {
		return access.Claim{}, bus.Errorf(bus.CodeInvalidArgument, "connect argument %s: want the name of a group", groupArg)
	}
	return access.Claim{Group: group}, nil
}

// permits are what was decided of a connection's messages and calls. They are good
// as long as the guard says so.
type permits struct {
	version uint64
	of      []atomic.Pointer[bus.Error] // messages by their handler, then methods; nil: nothing yet
}

// permitted stands in permits for what is allowed.
var permitted = new(bus.Error)

// mayCall decides whether the connection's client may call a method; nil: it may,
// or there is no such method. The methods decide too, but by the policy that they
// were given.
func (c *Conn) mayCall(method string) *bus.Error {
	index, ok := c.service.methods[method]
	if !ok {
		return nil
	}
	return c.permit(index, c.service.guard.Method, method)
}

// maySend decides whether the connection's client may send what a handler handles;
// nil: it may.
func (c *Conn) maySend(h *Handler) *bus.Error {
	if p := c.permits.Load(); p != nil && p.version == c.service.guard.Version() && p.of[h.index].Load() == permitted {
		return nil
	}
	return c.permit(h.index, c.service.guard.Message, h.message)
}

func (c *Conn) permit(index int, decide func(string, *access.Caller, access.Claim) (*access.Grant, *bus.Error), name string) *bus.Error {
	version := c.service.guard.Version() // before the decision, which may be a newer one
	p := c.permits.Load()
	if p == nil || p.version != version {
		p = &permits{version: version, of: make([]atomic.Pointer[bus.Error], len(c.service.handlers)+len(c.service.methods))}
		c.permits.Store(p)
	}
	decided := p.of[index].Load()
	if decided == nil {
		if _, decided = decide(name, &c.caller, c.claim); decided == nil {
			decided = permitted
		}
		p.of[index].Store(decided)
	}
	if decided == permitted {
		return nil
	}
	return decided
}

// AccessChanged drops the connections of clients that may not connect any more,
// with [bus.CodePermissionDenied]. It is to be called after [access.Policy.Swap]:
// their messages and calls are refused from then on in any case, but what the
// service sends would go on to reach them. It returns at once.
func (s *Server) AccessChanged() {
	for _, c := range s.registry.all() {
		s.recheck(c)
	}
}

// recheck drops a connection that may not be any more.
func (s *Server) recheck(c *Conn) {
	if _, denied := c.service.guard.Connect(&c.caller, c.claim); denied != nil {
		c.link.Drop(denied)
	}
}
