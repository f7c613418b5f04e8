package msgbus

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/session"
)

// Why a session that was asked for does not go on, as the welcome says it.
const (
	reasonExpired    = "expired"
	reasonOverflowed = "overflowed"
	reasonRestarted  = "restarted"
	reasonUnknown    = "unknown"
)

// An agentSession is what one client has with a service, across its connections.
type agentSession struct {
	// Fixed at creation.
	id       string
	service  *Service
	identity bus.Identity
	peer     string
	stream   *link.Stream
	window   time.Duration // 0: it ends with its connection
	limit    int           // of a message to the client
	gone     chan struct{} // closed once no callback of the service runs for it any more

	state atomic.Pointer[any]

	// Guarded by the registry's mu.
	token    digest      // what the client may come back with
	last     digest      // the one before it, while the client may not have the new one
	holds    *Conn       // whose welcome says the token
	conn     *Conn       // the last that carried it; nil: none has yet
	claims   int         // connections that want or wanted it, and are not over
	accepted bool        // OnConnect accepted one of them
	deadline time.Time   // when it expires; zero while something carries it
	timer    *time.Timer // for that; nil while something carries it, or is about to
	ended    bool        // senders do not find it any more
	finished bool        // and its last callback has been called

	rest rest // guarded by the hoard's mu
}

func (s *agentSession) holder() holder { return holder{s.service, s.identity} }

// newSession makes the session of a client that takes credit bytes. grew is told
// how much more it keeps while nothing carries it, over that it has ended.
func newSession(id string, c *Conn, window time.Duration, credit int, grew func(*agentSession, int), over func(*agentSession)) *agentSession {
	s := &agentSession{
		id: id, service: c.service, identity: c.identity, peer: c.caller.Peer.Name, window: window,
		limit: min(DefaultMaxMessage, credit/4), gone: make(chan struct{}),
	}
	cfg := link.StreamConfig{Grant: c.service.Credit, Credit: credit, Buffer: session.DefaultBuffer, Over: func() { over(s) }}
	if window > 0 {
		cfg.Ends, cfg.Grew = link.EndsSession, func(bytes int) { grew(s, bytes) }
	}
	s.stream = link.NewStream(cfg)
	return s
}

// A digest is all that is kept of a token.
type digest [sha256.Size]byte

// tokenSize is the length of a token, in bytes.
const tokenSize = 32

func newToken() ([]byte, digest) {
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token) // it never fails
	return token, sha256.Sum256(token)
}

// is compares in constant time.
func (d digest) is(other digest) bool { return subtle.ConstantTimeCompare(d[:], other[:]) == 1 }

// accepts tells whether a client that brings this token's digest may go on.
func (s *agentSession) accepts(d digest) bool {
	now, before := s.token.is(d), s.last.is(d)
	return now || (before && s.last != digest{})
}

// A nodeID begins the names of a node's sessions: which node, and which of its
// lives.
type nodeID struct{ node, boot string }

// newNodeID names this life of a node.
func newNodeID(name string) nodeID {
	sum := sha256.Sum256([]byte(name))
	return nodeID{node: hex.EncodeToString(sum[:4]), boot: randomHex(4)}
}

// newSession names a session. The name is no secret: the token is.
func (n nodeID) newSession(h holder) string {
	return n.node + "." + n.boot + "." + h.hash() + "." + randomHex(8)
}

// hash tells holders apart in sessions' names.
func (h holder) hash() string {
	sum := sha256.Sum256([]byte(h.service.Name() + " " + string(h.identity)))
	return hex.EncodeToString(sum[:4])
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// whyUnknown says why there is no session of this name here for who asks for it.
func (n nodeID) whyUnknown(id string, h holder) string {
	parts := strings.Split(id, ".")
	switch {
	case len(parts) != 4 || parts[0] != n.node || parts[2] != h.hash():
		return reasonUnknown // another's, or another node's
	case parts[1] != n.boot:
		return reasonRestarted
	}
	return reasonExpired
}

// reasonOf says why a session has ended.
func reasonOf(why error) string {
	switch bus.CodeOf(why) { //nolint:exhaustive // every other code is unknown to who asks
	case bus.CodeSlowConsumer:
		return reasonOverflowed
	case bus.CodeSessionLost:
		return reasonExpired
	}
	return reasonUnknown
}
