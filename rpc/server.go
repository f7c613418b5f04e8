package rpc

import (
	"net/http"

	"go.uber.org/zap"

	"busd/access"
	"busd/bus"
)

// Config is what a [Server] needs to know. The zero value works.
type Config struct {
	// Logger gets a line for each call; nil is silence.
	Logger *zap.Logger
	// Access says who is who and who may do what; nil is [access.Open].
	Access *access.Policy
	// Authenticate finds out who sends a request; nobody is the zero Caller, and a
	// credential that is no good an error. nil: by the TLS certificate alone.
	Authenticate func(*http.Request) (access.Caller, *bus.Error)
	// Origins are the pages, "https://host:port", whose scripts may call methods:
	// a browser adds its user's certificate for any page. A POST with another Origin
	// gets 403. nil: none may.
	Origins []string
	// Busy tells that the program can take no more calls, by whichever way they come:
	// those that begin meanwhile are refused as where there are too many at a time.
	// It must return at once. nil: it always can.
	Busy func() bool
}

// A Server answers calls of several services. It is an http.Handler and never
// listens.
type Server struct {
	// Fixed at creation.
	cfg      Config
	services map[string]*Service // by "System/Component"
	order    []*Service
}

// NewServer readies the services, one after another: those with an Init that is
// not lazy are initialised. It fails if one of them fails, if two have one name, and
// if one is served already.
func NewServer(cfg Config, services ...*Service) (*Server, error) {
	s := &Server{cfg: cfg, services: make(map[string]*Service, len(services)), order: services}
	for _, svc := range services {
		if s.services[svc.name] != nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "two services have the name %s", svc.name)
		}
		s.services[svc.name] = svc
		if err := svc.readied(cfg); err != nil {
			return nil, err
		}
	}
	return s, nil
}
