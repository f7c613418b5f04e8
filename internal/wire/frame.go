package wire

import (
	"strconv"
	"time"

	"busd/bus"
	"busd/schema"
)

// Subprotocol is the WebSocket subprotocol, which is the protocol's version.
const Subprotocol = "msgbus.v1"

// A Kind tells frames apart: the first element of each.
type Kind uint8

// The frames. Each is a msgpack array that begins with its kind; numbered ones
// have their number second.
const (
	Hello   Kind = 0
	Welcome Kind = 1
	Drop    Kind = 2
	Ack     Kind = 3
	Data    Kind = 4
	Request Kind = 5
	Answer  Kind = 6
	Error   Kind = 7
	Cancel  Kind = 8
	Goaway  Kind = 9
	Call    Kind = 10
	Part    Kind = 11 // reserved for parts of a large message
)

// A shape is what every frame of a kind has in common.
type shape struct {
	name     string
	least    int  // elements, the kind included
	numbered bool // has a number
	consumes bool // consumes credit
}

var shapes = [...]shape{
	Hello:   {"hello", 2, false, false},
	Welcome: {"welcome", 2, false, false},
	Drop:    {"drop", 2, false, false},
	Ack:     {"ack", 3, false, false},
	Data:    {"data", 4, true, true},
	Request: {"request", 4, true, true},
	Answer:  {"answer", 5, true, false},
	Error:   {"error", 4, true, false},
	Cancel:  {"cancel", 2, false, false},
	Goaway:  {"goaway", 2, false, false},
	Call:    {"call", 4, true, true},
	Part:    {"part", 0, false, false},
}

// String returns the frame's name in docs/protocol.md.
func (k Kind) String() string {
	if int(k) < len(shapes) {
		return shapes[k].name
	}
	return "frame kind " + strconv.Itoa(int(k))
}

// Numbered tells whether frames of this kind have a number.
func (k Kind) Numbered() bool { return int(k) < len(shapes) && shapes[k].numbered }

// Consumes tells whether frames of this kind consume credit.
func (k Kind) Consumes() bool { return int(k) < len(shapes) && shapes[k].consumes }

// flagAck in a data frame or an ack asks for an ack at once.
const flagAck = 1

// A Frame is one frame as it was read. Its slices are parts of the bytes it
// was read from.
type Frame struct {
	Kind Kind
	// Size is the frame's length on the wire, in bytes.
	Size int
	// N is the number of a numbered frame.
	N uint64
	// Re is the number of the frame that an answer, an error, a cancel, or a
	// reply to a one-way message refers to; 0 for none.
	Re uint64
	// Name is a message's or method's name, empty if there is none.
	Name []byte
	// Message is the message's type, nil if the frame has none or the contract
	// does not know it.
	Message *Message
	// Body is a message's attributes, a control frame's map, or what a call or
	// its answer carries.
	Body []byte
	// Timeout is how long a request's or call's sender waits; 0: no limit.
	Timeout time.Duration
	// Seen and Released are what an ack says.
	Seen, Released uint64
	// Fault says why a frame that is well-formed must not be handled: its
	// message is unknown, not the peer's to send, too large, or breaks the
	// contract; or it is a call, and not from the client.
	Fault *bus.Error

	flags uint64
}

// AckAtOnce tells whether the sender of a data frame or an ack waits for an ack.
func (f *Frame) AckAtOnce() bool { return f.flags&flagAck != 0 }

// Frames are encoded without their number: the number is added when the frame
// is first written. The two bytes before it are the array's head and the kind.
const beforeNumber = 2

// AppendNumber appends a numbered frame that was encoded without its number.
func AppendNumber(dst, frame []byte, n uint64) []byte {
	dst = append(dst, frame[:beforeNumber]...)
	dst = appendUint(dst, n)
	return append(dst, frame[beforeNumber:]...)
}

// NumberSize returns how many bytes a number takes.
func NumberSize(n uint64) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<32:
		return 5
	}
	return 9
}

// appendHead begins a frame of so many elements.
func appendHead(dst []byte, k Kind, elements int) []byte {
	return append(dst, 0x90|byte(elements), byte(k))
}

// DataOptions are the optional parts of a data frame.
type DataOptions struct {
	// AckAtOnce asks the receiver for an ack at once.
	AckAtOnce bool
	// Re is the number of the one-way message that this one replies to.
	Re uint64
}

// AppendData appends a data frame without its number. The message is checked;
// what breaks the contract is a *[schema.ValueError].
func AppendData(dst []byte, m *Message, v schema.Message, o DataOptions) ([]byte, error) {
	elements, flags := 4, uint64(0)
	if o.AckAtOnce {
		elements, flags = 5, flagAck
	}
	if o.Re != 0 {
		elements = 6
	}
	dst = append(appendHead(dst, Data, elements), m.NameBytes()...)
	dst, err := m.Append(dst, v)
	if err != nil {
		return nil, err
	}
	if elements > 4 {
		dst = appendUint(dst, flags)
	}
	if elements > 5 {
		dst = appendUint(dst, o.Re)
	}
	return dst, nil
}

// AppendRequest appends a request frame without its number. A timeout of 0 is
// none; otherwise it is rounded up to milliseconds.
func AppendRequest(dst []byte, m *Message, v schema.Message, timeout time.Duration) ([]byte, error) {
	elements := 4
	if timeout > 0 {
		elements = 5
	}
	dst = append(appendHead(dst, Request, elements), m.NameBytes()...)
	dst, err := m.Append(dst, v)
	if err != nil || timeout <= 0 {
		return dst, err
	}
	return appendTimeout(dst, timeout), nil
}

// AppendAnswer appends the answer to request re without its number: a message,
// or, if m is nil, the empty answer that says it was handled.
func AppendAnswer(dst []byte, re uint64, m *Message, v schema.Message) ([]byte, error) {
	dst = appendUint(appendHead(dst, Answer, 5), re)
	if m == nil {
		return appendNil(appendNil(dst)), nil
	}
	return m.Append(append(dst, m.NameBytes()...), v)
}

// AppendCall appends a call of a method without its number. A timeout of 0 is
// none; otherwise it is rounded up to milliseconds.
func AppendCall(dst []byte, method string, args []byte, timeout time.Duration) []byte {
	elements := 4
	if timeout > 0 {
		elements = 5
	}
	dst = appendBytes(appendString(appendHead(dst, Call, elements), method), args)
	if timeout <= 0 {
		return dst
	}
	return appendTimeout(dst, timeout)
}

// What a call's frame takes beside its method's name and its arguments, and the
// answer to one beside the result; at most, in bytes.
const (
	AroundCall   = 32
	AroundResult = 32
)

// AppendResult appends the answer to call re without its number.
func AppendResult(dst []byte, re uint64, result []byte) []byte {
	return appendBytes(appendNil(appendUint(appendHead(dst, Answer, 5), re)), result)
}

// appendTimeout appends how long a sender waits, in milliseconds.
func appendTimeout(dst []byte, d time.Duration) []byte {
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return appendUint(dst, ms)
}

// AppendCancel appends a cancel frame for request or call re.
func AppendCancel(dst []byte, re uint64) []byte {
	return appendUint(appendHead(dst, Cancel, 2), re)
}

// AppendAck appends an ack frame: the last number seen, and the bytes of
// credit ever given back.
func AppendAck(dst []byte, seen, released uint64) []byte {
	return appendUint(appendUint(appendHead(dst, Ack, 3), seen), released)
}

// AppendAckAsking appends an ack frame that asks for one in return, at once.
func AppendAckAsking(dst []byte, seen, released uint64) []byte {
	return appendUint(appendUint(appendUint(appendHead(dst, Ack, 4), seen), released), flagAck)
}
