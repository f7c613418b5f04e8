package ws

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"busd/bus"
	"busd/internal/link"
)

// Limits of a socket.
const (
	// controlRate and controlBurst bound the control frames of a peer.
	controlRate  = 20
	controlBurst = 100
	// closeWait is how long a socket waits for the peer's goodbye.
	closeWait = 2 * time.Second
	// readBuffer is small because TLS holds whole records beneath it, and each
	// connection has one: it is for the heads of frames, and what is longer is read
	// past it.
	readBuffer = 128
	// writeBuffer holds what a link writes at once, so that it is one frame and
	// one write; it is held only meanwhile.
	writeBuffer = 20 << 10
	// maxPooled bounds the read buffers that are kept for another message.
	maxPooled = 256 << 10
	// maxCloseReason is what fits into a close frame (RFC 6455, section 5.5).
	maxCloseReason = 123
)

// Socket is a [link.Socket] over a WebSocket.
type Socket struct {
	conn   *websocket.Conn
	line   *line
	client bool

	// Owned by the reader.
	limit   int     // of a message, in bytes
	buf     *[]byte // the last message's; nil while the next is waited for
	control allowance
	onPing  func(string)
	onPong  func(string)
	inside  bool // a message has begun
}

var _ link.Socket = (*Socket)(nil)

// newSocket makes a socket of what the library has made of a line; client says which
// end it is.
func newSocket(conn *websocket.Conn, l *line, client bool) *Socket {
	s := &Socket{conn: conn, line: l, client: client, control: allowance{left: controlBurst}}
	s.Handle(func(string) {}, func(string) {})
	conn.SetPingHandler(func(p string) error { return s.controlled(s.onPing, p) })
	conn.SetPongHandler(func(p string) error { return s.controlled(s.onPong, p) })
	conn.SetCloseHandler(func(int, string) error { return nil }) // the link's writer answers
	return s
}

// An allowance of control frames refills with time.
type allowance struct {
	left float64
	at   time.Time
}

func (a *allowance) take(now time.Time) bool {
	if !a.at.IsZero() {
		a.left = min(controlBurst, a.left+now.Sub(a.at).Seconds()*controlRate)
	}
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// errFlood ends the reading of a peer that sends too many control frames.
var errFlood = errors.New("too many control frames")

func (s *Socket) controlled(do func(string), payload string) error {
	if !s.control.take(time.Now()) {
		return errFlood
	}
	if !s.inside {
		s.line.rest()
	}
	do(payload)
	return nil
}

// Handle implements [link.Socket].
func (s *Socket) Handle(onPing, onPong func(string)) { s.onPing, s.onPong = onPing, onPong }

// Limit implements [link.Socket].
func (s *Socket) Limit(message int, silence time.Duration, until time.Time) {
	s.limit = message // not the library's limit: it would say goodbye by itself, before anybody has said why
	s.line.silence, s.line.until = silence, until
}

// Read implements [link.Socket].
func (s *Socket) Read() ([]byte, error) {
	s.giveBack()
	s.inside = false
	s.line.rest()
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return nil, s.readError(err)
	}
	if kind != websocket.BinaryMessage {
		return nil, fault(bus.CloseUnsupportedData, bus.CodeProtocolError, "a text message: messages are binary")
	}
	s.inside = true
	if !s.line.begun {
		s.line.begin()
	}
	s.buf = readBuffers.Get().(*[]byte) // the pool holds nothing else
	*s.buf, err = readAll(r, (*s.buf)[:0], s.limit, s.line.advance)
	if err != nil {
		return nil, s.readError(err)
	}
	return *s.buf, nil
}

// readBuffers are shared: a connection that waits for a message holds none.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// giveBack returns the buffer of the last message, whose bytes are not good
// any more.
func (s *Socket) giveBack() {
	if s.buf != nil && cap(*s.buf) <= maxPooled {
		readBuffers.Put(s.buf)
	}
	s.buf = nil
}

// errTooBig ends the reading of a message that is larger than is taken.
var errTooBig = errors.New("message too big")

// readAll reads into b, which grows with what has come, not with what was
// announced, and tells what came.
func readAll(r io.Reader, b []byte, limit int, came func(n int)) ([]byte, error) {
	for {
		if len(b) > limit {
			return b, errTooBig
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		came(n)
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// readError says in our words why a read failed.
func (s *Socket) readError(err error) error {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return closeError(closed)
	case errors.Is(err, errFlood):
		return fault(bus.ClosePolicy, bus.CodeResourceExhausted, "too many control frames: at most 20 a second are taken")
	case errors.Is(err, errTooBig), errors.Is(err, websocket.ErrReadLimit): // the library's is a length past 63 bits
		return fault(bus.CloseTooBig, bus.CodeProtocolError, "a WebSocket message larger than is taken")
	case isTimeout(err):
		return s.timeout()
	case isProtocolError(err):
		return &link.Fault{Err: bus.Wrap(bus.CodeProtocolError, err, "not WebSocket as RFC 6455 has it"), Close: bus.CloseProtocolError}
	}
	return bus.Wrap(bus.CodeUnavailable, err, "the line broke")
}

// timeout tells the three ways apart in which a peer can be too late.
func (s *Socket) timeout() error {
	switch {
	case !s.line.until.IsZero() && !time.Now().Before(s.line.until):
		return bus.Errorf(bus.CodeDeadlineExceeded, "nothing that was expected came in time")
	case s.line.begun:
		return fault(bus.ClosePolicy, bus.CodeDeadlineExceeded, "a message was begun and did not go on")
	}
	return bus.Errorf(bus.CodeKeepaliveTimeout, "nothing came for %s", s.line.silence)
}

// isProtocolError tells the library's complaints about a frame, which are bare
// texts beginning with its name, from errors of the line.
func isProtocolError(err error) bool {
	const prefix = "websocket: "
	text := err.Error()
	return len(text) > len(prefix) && text[:len(prefix)] == prefix
}

// Write implements [link.Socket].
func (s *Socket) Write(b []byte) error {
	return writeError(s.conn.WriteMessage(websocket.BinaryMessage, b))
}

// Ping implements [link.Socket].
func (s *Socket) Ping(payload string) error { return s.writeControl(websocket.PingMessage, payload) }

// Pong implements [link.Socket].
func (s *Socket) Pong(payload string) error { return s.writeControl(websocket.PongMessage, payload) }

// Of a control frame, as RFC 6455, section 5.5, has it.
const (
	maxControl = 125 // bytes of payload
	finalBit   = 1 << 7
	maskBit    = 1 << 7
	maskSize   = 4
)

// controlFrames are shared: a connection holds one only while it writes.
var controlFrames = sync.Pool{New: func() any { return new([2 + maskSize + maxControl]byte) }}

// writeControl writes a control frame, in one piece, so that it may go between others.
// The library arms a timer for each, and takes so much stack that a reader that
// answers a ping would need 8 KiB of it instead of 4.
func (s *Socket) writeControl(kind byte, payload string) error {
	if len(payload) > maxControl {
		return bus.Errorf(bus.CodeInternal, "a control frame of %d bytes", len(payload))
	}
	buf := controlFrames.Get().(*[2 + maskSize + maxControl]byte) // the pool holds nothing else
	defer controlFrames.Put(buf)
	b := append(buf[:0], finalBit|kind, byte(len(payload)))
	if !s.client {
		_, err := s.line.Write(append(b, payload...))
		return writeError(err)
	}
	b[1] |= maskBit
	b = binary.LittleEndian.AppendUint32(b, rand.Uint32()) //nolint:gosec // the runtime's generator, which nobody can predict
	mask := [maskSize]byte(b[2:])
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%maskSize])
	}
	_, err := s.line.Write(b)
	return writeError(err)
}

// Close implements [link.Socket]. TLS's goodbye follows the WebSocket's.
func (s *Socket) Close(code int, reason string) error {
	if len(reason) > maxCloseReason || !utf8.ValidString(reason) {
		reason = "" // the drop frame before it has the whole
	}
	message := websocket.FormatCloseMessage(code, reason)
	err := writeError(s.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(paceTime)))
	if t, ok := s.line.Conn.(*tls.Conn); ok && err == nil {
		_ = t.CloseWrite() // a courtesy
	}
	return err
}

func writeError(err error) error {
	switch {
	case err == nil, errors.Is(err, websocket.ErrCloseSent):
		return nil // the library says goodbye by itself to a peer that breaks RFC 6455
	case isTimeout(err):
		return bus.Wrap(bus.CodeUnavailable, err, "the peer takes nothing")
	}
	return bus.Wrap(bus.CodeUnavailable, err, "the line broke")
}

// Drain implements [link.Socket]. It reads beneath the WebSocket, as what
// comes now may not be one any more.
func (s *Socket) Drain() {
	s.giveBack()
	s.line.resume()
	s.line.until = time.Now().Add(closeWait)
	s.line.begun, s.line.silence = false, closeWait
	for {
		if _, _, err := s.conn.NextReader(); err != nil {
			if websocket.IsUnexpectedCloseError(err, websocket.CloseAbnormalClosure) {
				return // the peer's close frame: nothing comes after it
			}
			break
		}
	}
	scratch := make([]byte, 1<<10)
	for {
		if _, err := s.line.Read(scratch); err != nil {
			return
		}
	}
}

// Interrupt ends a Read, and those to come, but for what Drain reads; the socket
// can still be written to, and closed. It may be called by anyone, but must have
// returned before Drain is called.
func (s *Socket) Interrupt() { s.line.interrupt() }

// Abort implements [link.Socket]. It closes what is beneath TLS: TLS itself
// would say goodbye first, and wait for a peer that takes nothing.
func (s *Socket) Abort() {
	conn := s.line.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close() // there is nothing left to do for it
}

func fault(closeCode int, code bus.Code, reason string) *link.Fault {
	return &link.Fault{Err: bus.Errorf(code, "%s", reason), Close: closeCode}
}

// closeError says what the peer's close frame means: the bus's own code, or
// what comes nearest to RFC 6455's.
func closeError(closed *websocket.CloseError) error {
	if closed.Code == websocket.CloseAbnormalClosure {
		return bus.Wrap(bus.CodeUnavailable, closed, "the line ended without a goodbye")
	}
	code, ok := closeCodes[closed.Code]
	if n := closed.Code - 4000; n > 0 && n < 1000 {
		code, ok = bus.Code(n), true
	}
	if !ok {
		code = bus.CodeUnknown
	}
	return &bus.Error{Code: code, Reason: closed.Text, Remote: true, Retry: bus.Retry{When: code.Retry()}}
}

// closeCodes maps RFC 6455's close codes, for peers that send no drop frame.
var closeCodes = map[int]bus.Code{
	websocket.CloseNormalClosure:           bus.CodeGoingAway,
	websocket.CloseGoingAway:               bus.CodeGoingAway,
	websocket.CloseNoStatusReceived:        bus.CodeGoingAway,
	websocket.CloseProtocolError:           bus.CodeProtocolError,
	websocket.CloseUnsupportedData:         bus.CodeProtocolError,
	websocket.CloseInvalidFramePayloadData: bus.CodeProtocolError,
	websocket.ClosePolicyViolation:         bus.CodeResourceExhausted,
	websocket.CloseMessageTooBig:           bus.CodeProtocolError,
	websocket.CloseInternalServerErr:       bus.CodeInternal,
	websocket.CloseServiceRestart:          bus.CodeGoingAway,
	websocket.CloseTryAgainLater:           bus.CodeResourceExhausted,
}
