package wire

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"busd/bus"
	"busd/schema"
)

// A Decoder reads the frames of one side. It is a plain value, and may be used
// concurrently.
type Decoder struct {
	// Contract is what messages are checked against; nil before it is known,
	// and then every message is unknown.
	Contract *Contract
	// From is the side that the frames come from.
	From schema.Sender
	// Limit bounds a message's frame in bytes; 0 is no bound.
	Limit int
}

// Next reads and checks the frame at the start of b. A frame whose message
// must not be handled has a Fault. An error means that b is no frame: a
// *[SyntaxError] where it is not msgpack by the rules of [Scan], a *[bus.Error]
// where it breaks the protocol; nothing after it can be read.
func (d Decoder) Next(b []byte) (Frame, error) {
	var f Frame
	if d.quick(b, &f) {
		return f, nil
	}
	return d.next(b)
}

func (d Decoder) next(b []byte) (Frame, error) {
	r := reader{b: b}
	elements := r.list()
	kind := r.uint()
	if r.err != nil {
		return Frame{}, r.err
	}
	if kind >= uint64(len(shapes)) || Kind(kind) == Part {
		return Frame{}, bus.Errorf(bus.CodeProtocolError, "unknown frame kind %d", kind)
	}
	f := Frame{Kind: Kind(kind)}
	shape := shapes[f.Kind]
	if elements < shape.least {
		return Frame{}, bus.Errorf(bus.CodeProtocolError, "frame %s: want at least %d elements, got %d", f.Kind, shape.least, elements)
	}
	if shape.numbered {
		f.N = r.uint()
	}
	d.elements(&f, &r, elements)
	for range elements - r.elements {
		r.value() // what a newer peer has appended
	}
	if r.err != nil {
		return Frame{}, fmt.Errorf("frame %s: %w", f.Kind, r.err)
	}
	f.Size = r.pos
	if d.Limit > 0 && f.Size > d.Limit && f.Kind.Numbered() && f.Fault == nil {
		f.Fault = tooLarge(f.Kind, f.Size, d.Limit)
	}
	return f, nil
}

// elements reads what the kind has after its number.
func (d Decoder) elements(f *Frame, r *reader, elements int) {
	switch f.Kind {
	case Hello, Welcome, Drop, Goaway:
		f.Body = r.mapValue()
	case Ack:
		f.Seen, f.Released = r.uint(), r.uint()
		if elements > 3 {
			f.flags = r.uint()
		}
	case Cancel:
		f.Re = r.uint()
	case Data:
		d.message(f, r)
		if elements > 4 {
			f.flags = r.uint()
		}
		if elements > 5 {
			f.Re = r.uint()
		}
	case Request:
		d.message(f, r)
		if elements > 4 {
			f.Timeout = milliseconds(r.uint())
		}
	case Answer:
		f.Re = r.uint()
		d.answer(f, r)
	case Error:
		f.Re = r.uint()
		f.Body = r.mapValue()
	case Call:
		f.Name = r.name()
		f.Body = r.bytes()
		if elements > 4 {
			f.Timeout = milliseconds(r.uint())
		}
		if d.From == schema.FromService {
			f.Fault = bus.Errorf(bus.CodeUnimplemented, "method %s: methods are called by the client only", quoted(f.Name))
		}
	case Part:
	}
}

// answer reads a name and attributes, or nothing, or a call's answer.
func (d Decoder) answer(f *Frame, r *reader) {
	if r.class() != classNil {
		d.message(f, r)
		return
	}
	r.value()
	if r.class() == classNil {
		r.value()
		return
	}
	f.Body = r.bytes()
}

// message reads a message's name and attributes, and checks them in the same
// pass.
func (d Decoder) message(f *Frame, r *reader) {
	f.Name = r.name()
	if r.err != nil {
		return
	}
	if d.Contract != nil {
		f.Message, _ = d.Contract.MessageBytes(f.Name)
	}
	body := r.b[r.pos:]
	n, err := 0, error(nil)
	switch {
	case f.Message == nil:
		f.Fault = bus.Errorf(bus.CodeUnimplemented, "the contract has no message %s", quoted(f.Name))
		n, err = skipMap(body)
	case !allows(f.Message.from, d.From):
		f.Fault = bus.Errorf(bus.CodeUnimplemented, "message %s may be sent by the %s only", f.Name, f.Message.from)
		n, err = skipMap(body)
	default:
		n, err = f.Message.Check(body)
	}
	if err != nil {
		var misfit *schema.ValueError
		if !errors.As(err, &misfit) {
			r.err = err
			return
		}
		f.Fault = InvalidMessage(misfit) // n is the length of what breaks the contract too
	}
	f.Body = body[:n]
	r.passed(n)
}

// skipMap finds the end of the attributes of a message that is not known.
func skipMap(b []byte) (int, error) {
	if c, _, _ := readHead(b, 0); c != classMap {
		return 0, &SyntaxError{Reason: "want a map"}
	}
	return Skip(b)
}

// allows tells whether a message may come from a side.
func allows(from, side schema.Sender) bool { return from == schema.FromBoth || from == side }

// InvalidMessage says a breach of the contract to the peer.
func InvalidMessage(misfit *schema.ValueError) *bus.Error {
	e := bus.Errorf(bus.CodeInvalidMessage, "want %s, got %s", misfit.Want, misfit.Got)
	e.Path = misfit.Message
	if misfit.Attr != "" {
		e.Path += "." + misfit.Attr
	}
	return e
}

func tooLarge(k Kind, size, limit int) *bus.Error {
	if k == Call {
		return bus.Errorf(bus.CodeOutOfRange, "call of %d bytes: at most %d are taken", size, limit)
	}
	return bus.Errorf(bus.CodeInvalidMessage, "message of %d bytes: at most %d are taken", size, limit)
}

// CheckSize tells whether a frame without its number keeps to a limit.
func CheckSize(frame []byte, limit int) error {
	if size := sizeOf(frame); size > limit {
		return tooLarge(Kind(frame[1]), size, limit)
	}
	return nil
}

// CheckResult is CheckSize for what answers a call.
func CheckResult(frame []byte, limit int) error {
	if size := sizeOf(frame); size > limit {
		return bus.Errorf(bus.CodeOutOfRange, "the result takes %d bytes: this client takes at most %d over a stable connection", size, limit)
	}
	return nil
}

// sizeOf is how large a frame without its number may be with it.
func sizeOf(frame []byte) int { return len(frame) + NumberSize(math.MaxUint64) }

// milliseconds bounds what a peer may say to what a Duration holds.
func milliseconds(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(math.MaxInt64/int64(time.Millisecond)))) * time.Millisecond
}

// A reader walks over the elements of a frame. The first error stays.
type reader struct {
	b        []byte
	pos      int
	elements int // read so far
	err      error
}

func (r *reader) fail(want string) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: r.pos, Reason: "want " + want}
	}
}

// class tells the class of the next element.
func (r *reader) class() class {
	c, _, _ := readHead(r.b, r.pos)
	return c
}

func (r *reader) head(want class, name string) (n int) {
	if r.err != nil {
		return 0
	}
	c, n, next := readHead(r.b, r.pos)
	switch {
	case c == classShort:
		r.err = &SyntaxError{Offset: r.pos, Reason: whyShort}
		return 0
	case c != want:
		r.fail(name)
		return 0
	}
	r.pos = next
	return n
}

func (r *reader) list() int { return r.head(classList, "a list") }

func (r *reader) uint() uint64 {
	r.elements++
	at := r.pos
	n := r.head(classInt, "a number")
	if r.err != nil {
		return 0
	}
	r.pos += n
	v, big := readInt(r.b, at)
	if v < 0 || big {
		r.pos = at
		r.fail("a number from 0 to 2^63-1")
		return 0
	}
	return uint64(v)
}

// name reads a message's or method's name.
func (r *reader) name() []byte {
	r.elements++
	n := r.head(classString, "a name")
	if r.err == nil && (n == 0 || n > schema.MaxName) {
		r.fail(fmt.Sprintf("a name of 1 to %d bytes", schema.MaxName))
	}
	name := r.take(n)
	if !utf8.Valid(name) {
		r.pos -= n
		r.fail("a name in UTF-8")
	}
	return name
}

func (r *reader) bytes() []byte {
	r.elements++
	return r.take(r.head(classBytes, "bytes"))
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos]
}

// mapValue reads a map, scanned.
func (r *reader) mapValue() []byte {
	if r.err == nil && r.class() != classMap {
		r.fail("a map")
	}
	return r.value()
}

// value reads any value, scanned.
func (r *reader) value() []byte {
	r.elements++
	if r.err != nil {
		return nil
	}
	n, err := Scan(r.b[r.pos:])
	if err != nil {
		r.err = err
		return nil
	}
	return r.take(n)
}

// passed counts an element that somebody else has read.
func (r *reader) passed(n int) {
	r.elements++
	r.pos += n
}

// quoted shows a name that the peer chose.
func quoted(name []byte) string { return fmt.Sprintf("%q", name) }
