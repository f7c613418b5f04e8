package daemon

import (
	"context"
	"errors"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"busd/daemon/internal/config"
)

// headerSlop is what net/http reads beyond MaxHeaderBytes.
const headerSlop = 4096

// Bounds of an HTTP/2 connection.
const (
	// maxStreams bounds the requests of a connection at a time.
	maxStreams = 100
	// streamWindow is what a client may send of a body, and connWindow of all
	// bodies of its connection, before somebody reads it.
	streamWindow = 256 << 10
	connWindow   = 256 << 10
	// stalled is for how long a client may take nothing at all of what it is sent.
	stalled = 10 * time.Second
)

// newHTTP makes the web server of a listener. The time-outs are for whoever
// says nothing else: a stable connection has clocks of its own, and so has each
// call, for its body and its answer.
func (s *server) newHTTP(l config.Listener) *http.Server {
	c := s.config
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	web := &http.Server{
		Handler:           closesAfterChunks(&shedding{s.guard.Short, s.logs.Named("http"), s.handler(l), &s.shed}),
		ReadHeaderTimeout: c.Timeouts.Request,
		ReadTimeout:       c.Timeouts.Request, // a body may not drip
		WriteTimeout:      c.Timeouts.Request + c.Timeouts.Hello,
		IdleTimeout:       c.Timeouts.Idle,
		MaxHeaderBytes:    int(c.Limits.HeaderSize) - headerSlop,
		Protocols:         &protocols,
		// "OPTIONS *" is a path like any other that there is not.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			WriteByteTimeout:              stalled,
		},
		ErrorLog: s.httpLog(),
	}
	s.unread.watch(web)
	return web
}

// closesAfterChunks serves no second request after one whose body came in chunks:
// net/http does not say whether that had a length too, and then somebody between may
// see the requests end elsewhere (RFC 9112, section 6.1).
func closesAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// httpLog is where net/http says what it cannot tell anybody else.
func (s *server) httpLog() *log.Logger {
	l, err := zap.NewStdLogAt(s.logs.Named("http"), zap.WarnLevel)
	if err != nil { // only for a level that does not exist
		panic(err)
	}
	return l
}

// handler serves what is served on a listener.
func (s *server) handler(l config.Listener) http.Handler {
	if len(l.Services) == 0 {
		return s.bus
	}
	o := &only{next: s.bus, names: map[string]bool{}}
	for _, svc := range s.services {
		if slices.Contains(l.Services, svc.Name()) {
			for _, name := range append([]string{svc.Name()}, svc.Aliases...) {
				o.names[name] = true
			}
		}
	}
	return o
}

// only passes on requests to some services. Whoever asks for another one is told
// what he is told of one that does not exist.
type only struct {
	next  http.Handler
	names map[string]bool // aliases too
}

// ServeHTTP answers requests.
func (o *only) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !o.names[serviceIn(r.URL.Path)] {
		elsewhere, nowhere := *r, *r.URL
		nowhere.Path, nowhere.RawPath = "/", ""
		elsewhere.URL = &nowhere
		r = &elsewhere
	}
	o.next.ServeHTTP(w, r)
}

// serviceIn is the service that a path names: "/System/Component", or below it.
func serviceIn(path string) string {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// shutdown lets the requests that run be answered, and takes no others. What is
// left when ctx ends is cut off, which is an error.
func (s *server) shutdown(ctx context.Context) error {
	errs := make([]error, len(s.web))
	var all sync.WaitGroup
	for i, web := range s.web {
		all.Go(func() {
			if errs[i] = web.Shutdown(ctx); errs[i] != nil {
				_ = web.Close() // the time is over
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
