package daemon

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// unread counts HTTP connections that ended before anybody could answer a request:
// net/http tells nobody of a header that is too large, too slow or none. Its
// methods may be called concurrently.
type unread struct {
	// begun are connections that ended within a request; silent those that ended
	// before their first.
	begun, silent atomic.Uint64

	conns sync.Map // of net.Conn to *atomic.Int32
}

// What a connection waits for.
const (
	answered int32 = iota // nothing: the last request has its handler
	fresh                 // its first request
	reading               // the rest of a request
)

// unreadKey is where a request's context has what its connection waits for.
type unreadKey struct{}

// watch lets a web server tell of its connections.
func (u *unread) watch(web *http.Server) {
	web.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		waits := new(atomic.Int32)
		waits.Store(fresh)
		u.conns.Store(c, waits)
		return context.WithValue(ctx, unreadKey{}, waits)
	}
	web.ConnState = u.changed
	next := web.Handler
	web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if waits, ok := r.Context().Value(unreadKey{}).(*atomic.Int32); ok {
			waits.Store(answered)
		}
		next.ServeHTTP(w, r)
	})
}

func (u *unread) changed(c net.Conn, state http.ConnState) {
	found, ok := u.conns.Load(c)
	if !ok {
		return
	}
	waits, ok := found.(*atomic.Int32)
	if !ok { // nothing else is put there
		return
	}
	switch state {
	case http.StateActive:
		waits.Store(reading)
	case http.StateIdle:
		if waits.Load() == reading { // HTTP/2, before its first stream
			waits.Store(fresh)
		}
	case http.StateHijacked:
		u.conns.Delete(c)
	case http.StateClosed:
		u.conns.Delete(c)
		switch waits.Load() {
		case reading:
			u.begun.Add(1)
		case fresh:
			u.silent.Add(1)
		}
	case http.StateNew:
	}
}
