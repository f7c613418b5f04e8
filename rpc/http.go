package rpc

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/keys"
)

// ServeHTTP answers calls, POST /System/Component and POST
// /System/Component/method, and shows a service's contract, GET /System/Component.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if svc := s.services[serviceIn(r.URL.Path)]; svc != nil {
		svc.ServeHTTP(w, r)
		return
	}
	err := noService()
	if s.cfg.Logger != nil {
		s.cfg.Logger.Named("rpc").Info("request refused", keys.Remote(r.RemoteAddr), keys.Code(err))
	}
	lost := exchange{w: w, r: r, control: *http.NewResponseController(w)}
	lost.leaveBody()
	lost.say(http.StatusNotFound, err)
}

// serviceIn is the name of the service that a path is of: what stands before its
// third slash.
func serviceIn(path string) string {
	path = strings.TrimPrefix(path, "/")
	if system := strings.IndexByte(path, '/'); system >= 0 {
		if end := strings.IndexByte(path[system+1:], '/'); end >= 0 {
			return path[:system+1+end]
		}
	}
	return path
}

func noService() *bus.Error {
	return bus.Errorf(bus.CodeNotFound, "nothing at this path: want /System/Component, as the service is named, or /System/Component/method")
}

// ServeHTTP answers POST requests on the service's path and one below it, and GET
// requests on its path. It sets the deadlines that it needs itself, whatever the
// http.Server's timeouts are.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{
		service: s, binding: s.bound(), w: w, r: r, control: *http.NewResponseController(w), began: time.Now(),
	}
	x.id[0] = newRequestID()
	x.request = Request{Service: s.name, ID: x.id[0], Remote: r.RemoteAddr, Caller: &x.caller}
	defer x.call.done() // last, if nothing has done so before
	defer x.end()
	if r.Method == http.MethodGet && r.URL.Path == "/"+s.name && r.URL.RawPath == "" {
		x.showContract()
		return
	}
	if r.ProtoMajor > 1 {
		// In HTTP/2 the server's own limit ends a request while its body comes, or its
		// method runs.
		_ = x.control.SetWriteDeadline(time.Time{})
	}
	if err := x.take(); err != nil {
		x.refuse(err)
		return
	}
	if m := x.call.method; m.uploads || m.streams {
		x.tether.endAt(x)
	}
	if x.tether.x != nil {
		x.call.tether = &x.tether
	}
	value, err := s.do(r.Context(), &x.call)
	x.upload.stop(x.interrupt)
	if why := x.tether.reason(); why != nil {
		x.refuse(why)
		return
	}
	x.answer(value, err)
}

// take reads a request until the call stands that it is, and its caller may make
// it.
func (x *exchange) take() *bus.Error {
	if err := x.address(); err != nil {
		return err
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	x.body.peer = x.caller.Peer.Name
	if err := x.body.open(x.r, x.began, &x.control, &x.binding.web.bodies); err != nil {
		return err
	}
	if err := x.body.within(x.limit(), x.r.ContentLength); err != nil {
		return err
	}
	decided := x.call.method != nil && !x.format.isDIRAC()
	if decided || x.call.method != nil && x.caller.Nobody() {
		// What the fields of a form say makes nobody somebody.
		if err := x.authorize(); err != nil {
			return err
		}
	}
	if err := x.read(); err != nil {
		return err
	}
	if !decided {
		if err := x.authorize(); err != nil {
			return err
		}
	}
	x.call.request, x.call.dialect = &x.request, x.dialect()
	if err := x.wantRaw(); err != nil {
		return err
	}
	return x.wantFraming()
}

// wantFraming refuses downloads to clients of HTTP/1.0: one whose length is not
// known beforehand would end with the connection, and so would a part of it.
func (x *exchange) wantFraming() *bus.Error {
	if x.r.ProtoAtLeast(1, 1) || !x.call.method.streams {
		return nil
	}
	return x.with(http.StatusHTTPVersionNotSupported, bus.Errorf(bus.CodeUnimplemented, "%s: a download wants HTTP/1.1 or later", x.call.method.name))
}

// address finds what a request is for, before anything of its body is read.
func (x *exchange) address() *bus.Error {
	if err := x.route(); err != nil {
		return err
	}
	if x.r.Method != http.MethodPost {
		allow := "POST"
		if x.inPath == "" {
			allow = "GET, POST"
		}
		x.w.Header().Set("Allow", allow)
		return x.with(http.StatusMethodNotAllowed, bus.Errorf(bus.CodeUnimplemented, "method %.16q: want %s", x.r.Method, allow))
	}
	if err := x.checkOrigin(); err != nil {
		return err
	}
	if err := x.readContentType(); err != nil {
		return err
	}
	if x.r.URL.RawQuery != "" {
		if err := x.query.parse([]byte(x.r.URL.RawQuery)); err != nil {
			return err
		}
		x.fields.fromQuery(&x.query)
	}
	if x.inPath == "" && x.fields.method == "" {
		return nil // it is in the body
	}
	return x.find()
}

// route takes the path apart: it must be exactly as the service is named.
func (x *exchange) route() *bus.Error {
	url, name := x.r.URL, x.service.name
	if url.RawPath == "" && url.Host == "" && len(url.Path) > len(name) && url.Path[0] == '/' && url.Path[1:1+len(name)] == name {
		rest := url.Path[1+len(name):]
		if rest == "" {
			return nil
		}
		if method, ok := strings.CutPrefix(rest, "/"); ok && method != "" && !strings.Contains(method, "/") {
			x.inPath = method
			return nil
		}
	}
	return noService()
}

// checkOrigin refuses what a page of somebody else's makes a browser send, which
// has its user's certificate.
func (x *exchange) checkOrigin() *bus.Error {
	if origin, ok := x.r.Header["Origin"]; ok {
		if len(origin) == 1 && slices.Contains(x.binding.cfg.Origins, origin[0]) {
			return nil
		}
		return bus.Errorf(bus.CodePermissionDenied, "a page of this origin may not call methods")
	}
	site := x.r.Header["Sec-Fetch-Site"]
	if len(site) == 0 || len(site) == 1 && (site[0] == "same-origin" || site[0] == "none") {
		return nil
	}
	return bus.Errorf(bus.CodePermissionDenied, "a page of another site may not call methods")
}

// find finds the method that the request names.
func (x *exchange) find() *bus.Error {
	name := x.fields.method
	if x.inPath != "" {
		if name != "" && name != x.inPath {
			return badCall("the path names one method, and a field another")
		}
		name = x.inPath
	}
	if name == "" {
		return badCall("method is missing: want the method's name as the last part of the path, or in the field method")
	}
	m := x.service.find(name)
	if x.request.Method = name; m == nil {
		x.call.method = nil
		return x.service.noMethod(name)
	}
	x.request.Method, x.call.method = m.name, m // its own name: that of the request holds more in memory
	return nil
}

// authenticate finds out who asks.
func (x *exchange) authenticate() *bus.Error {
	var err *bus.Error
	changes := x.binding.web.tethers.changes.Load()
	if authenticate := x.binding.cfg.Authenticate; authenticate != nil {
		x.caller, err = authenticate(x.r)
	} else {
		x.caller, err = x.binding.web.callers.of(x.r.TLS)
	}
	if err != nil {
		x.caller = access.Caller{}
		x.renew()
		return err
	}
	if end := x.caller.NotAfter; !end.IsZero() && x.began.After(end) {
		x.caller = access.Caller{}
		return bus.Errorf(bus.CodeUnauthenticated, "the credential has expired")
	}
	x.tether.hold(x, changes)
	return nil
}

// renew ends the connection of somebody who has shown a certificate in it, and is
// not let in: only in the next one can he show a better one.
func (x *exchange) renew() {
	if x.r.TLS != nil && len(x.r.TLS.PeerCertificates) > 0 {
		x.closeAfter()
	}
}

// authorize decides whether the caller may call the method.
func (x *exchange) authorize() *bus.Error {
	claim, ok := x.fields.claim()
	if !ok {
		c := bus.CodePermissionDenied
		if x.caller.Nobody() {
			c = bus.CodeUnauthenticated
		}
		return bus.Errorf(c, "extraCredentials: want a group, \"hosts\", or a list of a DN and a group, in JSON")
	}
	grant, err := x.service.authorize(x.call.method, &x.caller, claim)
	x.request.Grant = grant
	return err
}
