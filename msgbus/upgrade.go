package msgbus

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/wire"
	"busd/internal/ws"
)

// ServeHTTP answers what stands on a service's path: an upgrade opens a stable
// connection, a plain GET shows the contract.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	svc := s.services[strings.TrimPrefix(r.URL.Path, "/")]
	switch {
	case svc == nil || r.URL.RawPath != "" || !strings.HasPrefix(r.URL.Path, "/"):
		s.refuse(w, r, http.StatusNotFound, bus.Errorf(bus.CodeNotFound, "no service at this path: want /System/Component, as the service is named"))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		s.refuse(w, r, http.StatusMethodNotAllowed, bus.Errorf(bus.CodeUnimplemented, "method %s: want GET", r.Method))
	case ws.IsUpgrade(r):
		s.upgrade(w, r, svc)
	default:
		s.showContract(w, r, svc)
	}
}

// peer names who the verified certificate is of. Nobody gets 401, a
// certificate that yields no name 403.
func (s *Server) peer(w http.ResponseWriter, r *http.Request) (bus.Peer, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		s.refuse(w, r, http.StatusUnauthorized, bus.Errorf(bus.CodeUnauthenticated, "a client certificate is wanted, and none was given"))
		return bus.Peer{}, false
	}
	peer, err := s.naming.Peer(*r.TLS)
	if err != nil {
		s.refuse(w, r, http.StatusForbidden, bus.Wrap(bus.CodePermissionDenied, err, "the certificate has no name that may connect here"))
		return bus.Peer{}, false
	}
	return peer, true
}

func (s *Server) showContract(w http.ResponseWriter, r *http.Request, svc *Service) {
	if _, ok := s.peer(w, r); !ok {
		return
	}
	tag := strconv.Quote(svc.Schema.Fingerprint())
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(svc.Schema.JSON()) // a client that has gone is its own loss
}

// upgrade looks at everything that can be refused with a status, and then
// makes a connection of the request.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, svc *Service) {
	if origin, ok := r.Header["Origin"]; ok && !(len(origin) == 1 && slices.Contains(s.cfg.Origins, origin[0])) {
		s.refuse(w, r, http.StatusForbidden, bus.Errorf(bus.CodePermissionDenied, "a page of this origin may not connect"))
		return
	}
	peer, ok := s.peer(w, r)
	if !ok {
		return
	}
	if !slices.Contains(ws.Subprotocols(r), wire.Subprotocol) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Protocol", wire.Subprotocol)
		s.refuse(w, r, http.StatusUpgradeRequired, bus.Errorf(bus.CodeUnsupportedVersion, "want the subprotocol %s", wire.Subprotocol))
		return
	}
	if err := s.gate.enter(svc, peer.Name); err != nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(err.Retry.After/time.Second)))
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	sock, err := ws.Accept(w, r, wire.Subprotocol)
	if err != nil {
		s.gate.leave(svc, peer.Name)
		return
	}
	greet := &greeting{server: s, service: svc, peer: peer, remote: r.RemoteAddr, socket: sock, began: time.Now()}
	// A goroutine of its own: the HTTP handler's has grown a large stack in the
	// TLS handshake, which would be held as long as the connection.
	go greet.run() // leaves the gate at its end
}

// problem is the body of every refusal.
type problem struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// refuse answers with a status and says why. What is told is written for a
// stranger; a cause stays in the log.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, e *bus.Error) {
	s.log.Info("request refused", keys.Remote(r.RemoteAddr), keys.Code(e), keys.Reason(e))
	if svc := s.services[strings.TrimPrefix(r.URL.Path, "/")]; svc != nil {
		svc.stats.refused(e.Code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{e.Code.String(), e.Reason}) // as above
}
