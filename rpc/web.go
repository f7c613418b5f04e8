package rpc

import (
	"crypto/tls"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"weak"

	"busd/access"
	"busd/bus"
	"busd/internal/mtls"
	"busd/schema"
)

// web is what a service keeps for HTTP.
type web struct {
	bodies, answers room // bytes
	spools          room // files
	callers         callers
	tethers         tethers

	once     sync.Once // for the two below
	contract *schema.Schema
	problem  error
}

func newWeb() *web {
	return &web{bodies: room{most: MaxHeld}, answers: room{most: MaxAnswers}, spools: room{most: MaxSpools}}
}

// schemaOf returns a service's contract: what it has of methods.
func (w *web) schemaOf(s *Service) (*schema.Schema, error) {
	w.once.Do(func() {
		var parts []schema.Part
		for _, m := range s.Methods() {
			parts = append(parts, m)
		}
		w.contract, w.problem = schema.New(s.name, parts...)
	})
	return w.contract, w.problem
}

// showContract answers a plain GET; who asks must have shown who he is.
func (x *exchange) showContract() {
	x.shown = true
	err := x.authenticate()
	if err == nil && x.caller.Nobody() {
		err = bus.Errorf(bus.CodeUnauthenticated, "a credential is wanted, and none was given")
	}
	if err != nil {
		x.refuse(err)
		return
	}
	contract, problem := x.binding.web.schemaOf(x.service)
	if problem != nil {
		x.refuse(x.service.crashed(&x.request, problem).Err)
		return
	}
	x.leaveBody()
	tag := strconv.Quote(contract.Fingerprint())
	x.w.Header().Set("ETag", tag)
	if x.r.Header.Get("If-None-Match") == tag {
		x.w.WriteHeader(http.StatusNotModified)
		return
	}
	x.send(http.StatusOK, typeJSON, contract.JSON())
}

// callers remembers of each TLS connection whom its certificate names: to find
// that out costs as much as all the rest of a small call.
type callers struct{ known sync.Map } // weak.Pointer[tls.ConnectionState] → *access.Caller

// of returns who has shown his certificate in a connection's handshake.
func (c *callers) of(state *tls.ConnectionState) (access.Caller, *bus.Error) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return access.Caller{}, nil
	}
	key := weak.Make(state)
	if known, ok := c.known.Load(key); ok {
		return *known.(*access.Caller), nil
	}
	peer, err := mtls.Naming{}.Peer(*state)
	if err != nil {
		var refused *bus.Error
		if !errors.As(err, &refused) {
			refused = bus.Wrap(bus.CodePermissionDenied, err, "the certificate has no name")
		}
		return access.Caller{}, refused
	}
	caller := &access.Caller{Peer: peer, Via: access.ViaCertificate, Subject: peer.DN, Issuer: peer.Issuer, NotAfter: peer.NotAfter}
	c.known.Store(key, caller)
	runtime.AddCleanup(state, func(key weak.Pointer[tls.ConnectionState]) { c.known.Delete(key) }, key)
	return *caller, nil
}
