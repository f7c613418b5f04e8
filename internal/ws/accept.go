package ws

import (
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"busd/bus"
)

// writeBuffers are shared: a connection holds one only while it writes.
var writeBuffers = &sync.Pool{}

// IsUpgrade tells whether a request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// Subprotocols returns the subprotocols that a request offers.
func Subprotocols(r *http.Request) []string { return websocket.Subprotocols(r) }

// Accept makes a WebSocket of a request. Where the request is no proper
// upgrade it has been answered with a status and a plain text, and an error is
// returned. The caller has looked at the Origin header.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (*Socket, error) {
	if status, reason := misfit(r); status != 0 {
		w.Header().Set("Sec-WebSocket-Version", version)
		w.Header().Set("Connection", "close") // what follows may be the body
		http.Error(w, reason, status)
		return nil, bus.Errorf(bus.CodeProtocolError, "not a WebSocket upgrade: %s", reason)
	}
	h := &hijacker{ResponseWriter: w}
	u := websocket.Upgrader{
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: writeBuffers,
		Subprotocols:    []string{subprotocol},
		CheckOrigin:     func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			http.Error(w, reason.Error(), status)
		},
	}
	conn, err := u.Upgrade(h, r, nil)
	if err != nil {
		return nil, bus.Wrap(bus.CodeProtocolError, err, "not a WebSocket upgrade")
	}
	return newSocket(conn, h.line, false), nil
}

// version is the one version of RFC 6455.
const version = "13"

// misfit finds what RFC 6455, section 4.2.1, forbids and the library takes. A
// body would be read as frames.
func misfit(r *http.Request) (status int, reason string) {
	switch {
	case !r.ProtoAtLeast(1, 1):
		return http.StatusBadRequest, "an upgrade wants HTTP/1.1"
	case r.ContentLength != 0:
		return http.StatusBadRequest, "an upgrade has no body"
	case len(r.Header.Values("Sec-WebSocket-Key")) > 1:
		return http.StatusBadRequest, "more than one Sec-WebSocket-Key"
	case len(r.Header.Values("Sec-WebSocket-Version")) > 1:
		return http.StatusBadRequest, "more than one Sec-WebSocket-Version"
	case r.Header.Get("Sec-WebSocket-Version") != version:
		return http.StatusUpgradeRequired, "want Sec-WebSocket-Version: " + version
	}
	return 0, ""
}
