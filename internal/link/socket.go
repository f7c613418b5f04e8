package link

import (
	"errors"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// A Socket carries binary messages and small control messages, as RFC 6455
// names them. One goroutine at a time may read, one may write; Abort may be
// called by anyone.
type Socket interface {
	// Read returns the next binary message. The bytes are good until the
	// next Read. Its errors are *bus.Error or *[Fault].
	Read() ([]byte, error)
	// More tells whether more has come than was taken from the line, so that the next
	// Read will probably return at once. What was taken and not read it need not know
	// of. It may be called by anyone.
	More() bool
	// Buffers tells whether a Write of little is over at once if all that was written
	// before has arrived.
	Buffers() bool
	// Write writes one binary message. The bytes stay the caller's.
	Write(b []byte) error
	// Ping and Pong write a control message.
	Ping(payload string) error
	Pong(payload string) error
	// Handle sets what Read calls on a ping and a pong; before the first Read.
	Handle(onPing, onPong func(payload string))
	// Limit sets how large a message Read takes, and how long it waits for
	// the first byte of one: for silence, and, if that is not zero, never
	// past until. Not during a Read, but by Read's own callbacks.
	Limit(message int, silence time.Duration, until time.Time)
	// Close says goodbye with a WebSocket close code; by the writer.
	Close(code int, reason string) error
	// Drain reads and throws away until the peer has said goodbye, the line
	// ends, or a short while has passed; instead of Read, by the reader. A
	// socket that is closed with bytes unread resets the line, and the peer
	// loses what was written last.
	Drain()
	// Abort ends both halves at once.
	Abort()
}

// A Fault is an error below the frames, which has a WebSocket close code of
// its own instead of the one that belongs to its bus code.
type Fault struct {
	Err   *bus.Error
	Close int
}

// Error returns the bus error's text.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the bus error.
func (f *Fault) Unwrap() error { return f.Err }

// closeCode returns the WebSocket close code that says err.
func closeCode(err error) int {
	var f *Fault
	if errors.As(err, &f) {
		return f.Close
	}
	return bus.CodeOf(err).CloseCode()
}

// AsFault turns what wire says of bytes that are no frame into a Fault.
func AsFault(err error) error {
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) {
		e := bus.Wrap(bus.CodeProtocolError, nil, syntax.Error())
		return &Fault{Err: e, Close: bus.CloseInvalidPayload}
	}
	return err
}

// Refuse ends a socket on which no link runs: it says why, and goes.
func Refuse(s Socket, err error) {
	e := bus.AsError(err)
	watch := time.AfterFunc(closeLimit, s.Abort)
	defer watch.Stop()
	defer s.Abort()
	code := bus.CloseNormal
	if !e.Remote { // else the peer has said why, and only wants its goodbye answered
		code = closeCode(err)
		if s.Write(wire.AppendDrop(nil, e)) != nil {
			return
		}
	}
	if s.Close(code, e.Text()) == nil {
		s.Drain()
	}
}

// noSocket takes the place of a socket that is gone.
type noSocket struct{}

var errNoSocket = bus.Errorf(bus.CodeUnavailable, "the connection is gone")

func (noSocket) Read() ([]byte, error)               { return nil, errNoSocket }
func (noSocket) More() bool                          { return false }
func (noSocket) Buffers() bool                       { return false }
func (noSocket) Write([]byte) error                  { return errNoSocket }
func (noSocket) Ping(string) error                   { return errNoSocket }
func (noSocket) Pong(string) error                   { return errNoSocket }
func (noSocket) Handle(func(string), func(string))   {}
func (noSocket) Limit(int, time.Duration, time.Time) {}
func (noSocket) Close(int, string) error             { return errNoSocket }
func (noSocket) Drain()                              {}
func (noSocket) Abort()                              {}
