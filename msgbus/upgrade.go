package msgbus

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/wire"
	"busd/internal/ws"
)

// ServeHTTP answers what stands on a service's path: an upgrade opens a stable
// connection, a plain GET shows the contract, a POST, there or one element below,
// calls a method.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	svc, canonical, below := s.find(r.URL)
	switch {
	case svc == nil, strings.Contains(r.RequestURI, "://"): // an absolute URI asks for a proxy
		s.refuse(w, r, http.StatusNotFound, bus.Errorf(bus.CodeNotFound, "no service at this path: want /System/Component, as the service is named"))
	case r.Method == http.MethodPost && svc.Methods != nil:
		callByHTTP(w, r, svc, canonical)
	case below:
		s.notAllowed(w, r, "POST", "POST")
	case r.Method != http.MethodGet && r.Method != http.MethodHead && svc.Methods != nil:
		s.notAllowed(w, r, "GET, HEAD, POST", "GET or POST")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.notAllowed(w, r, "GET, HEAD", "GET")
	case ws.IsUpgrade(r):
		s.upgrade(w, r, svc)
	default:
		s.showContract(w, r, svc)
	}
}

// notAllowed answers an HTTP method that is not served at a path.
func (s *Server) notAllowed(w http.ResponseWriter, r *http.Request, allow, want string) {
	w.Header().Set("Allow", allow)
	s.refuse(w, r, http.StatusMethodNotAllowed, bus.Errorf(bus.CodeUnimplemented, "method %.16s: want %s", r.Method, want))
}

func (s *Server) showContract(w http.ResponseWriter, r *http.Request, svc *Service) {
	if _, ok := s.knows(w, r, svc.mayRead); !ok {
		return
	}
	tag := strconv.Quote(svc.Schema.Fingerprint())
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(svc.Schema.JSON()) //nolint:gosec // nothing of the request is in it; a client that has gone is its own loss
}

// upgrade looks at everything that can be refused with a status, and then
// makes a connection of the request.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, svc *Service) {
	if origin, ok := r.Header["Origin"]; ok && !(len(origin) == 1 && slices.Contains(s.cfg.Origins, origin[0])) {
		s.refuse(w, r, http.StatusForbidden, bus.Errorf(bus.CodePermissionDenied, "a page of this origin may not connect"))
		return
	}
	caller, ok := s.knows(w, r, mayConnect)
	if !ok {
		return
	}
	if !slices.Contains(ws.Subprotocols(r), wire.Subprotocol) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Protocol", wire.Subprotocol)
		s.refuse(w, r, http.StatusUpgradeRequired, bus.Errorf(bus.CodeUnsupportedVersion, "want the subprotocol %s", wire.Subprotocol))
		return
	}
	if err := s.gate.enter(svc, caller.Peer.Name); err != nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(err.Retry.After/time.Second)))
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	sock, err := ws.Accept(w, r, wire.Subprotocol)
	if err != nil {
		s.gate.leave(svc, caller.Peer.Name)
		return
	}
	greet := greeting{server: s, service: svc, caller: caller, remote: r.RemoteAddr, home: homeOf(r), socket: sock, began: time.Now()}
	greet.run() // leaves the gate at the connection's end
}

// maxHome bounds what is kept of where a client has found its service, in bytes.
const maxHome = 512

// homeOf is where a client has found its service, as it says; empty, if that is
// too long.
func homeOf(r *http.Request) string {
	if len(r.Host)+len(r.URL.Path) > maxHome {
		return ""
	}
	return unique.Make("wss://" + r.Host + r.URL.Path).Value() // most connections have the same
}

// problem is the body of every refusal.
type problem struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// maxLogged bounds what a field of a log line has of what a stranger says, in bytes.
const maxLogged = 256

func cut(said string) string { return said[:min(len(said), maxLogged)] }

// refuse answers with a status and says why. What is told is written for a
// stranger; a cause stays in the log.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, e *bus.Error) {
	path := r.URL.Path
	s.log.Info("request refused", keys.Remote(r.RemoteAddr), zap.String("path", cut(path)), keys.Code(e), keys.Reason(e))
	if svc, _, _ := s.find(r.URL); svc != nil {
		svc.stats.refused(e.Code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{e.Code.String(), e.Reason}) // as above
}
