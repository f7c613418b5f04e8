package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"busd/bus"
)

// HelloFrame is what a client says first. Keys that a receiver does not know are
// ignored, in this and every other control frame.
type HelloFrame struct {
	// Instance is what the client adds to its peer's name; empty where the
	// service makes one connection for each certificate.
	Instance string `msgpack:"instance,omitempty"`
	// Args are the connect arguments: a map, by the rules of AppendAny.
	Args msgpack.RawMessage `msgpack:"args,omitempty"`
	// Fingerprint is of the contract that the client holds already.
	Fingerprint string `msgpack:"fingerprint,omitempty"`
	// Session, Token and Seen are what a client says to resume.
	Session string `msgpack:"session,omitempty"`
	Token   []byte `msgpack:"token,omitempty"`
	Seen    int64  `msgpack:"seen,omitempty"`
	// Move says that the connection which carries the session is still there,
	// and is to be left for this one.
	Move bool `msgpack:"move,omitempty"`
	// Credit is what the client grants the service, in bytes.
	Credit int64 `msgpack:"credit"`
	// Features are the optional parts of the protocol that the client speaks.
	Features []string `msgpack:"features,omitempty"`
	// Client names the program, for logs.
	Client Program `msgpack:"client,omitempty"`
}

// A Program is a name and a version.
type Program struct {
	Name    string `msgpack:"name"`
	Version string `msgpack:"version"`
}

// WelcomeFrame is what a service answers to a hello that it accepts.
type WelcomeFrame struct {
	TRID     string `msgpack:"trid"`
	Identity string `msgpack:"identity"`
	Session  string `msgpack:"session,omitempty"`
	Token    []byte `msgpack:"token,omitempty"`
	// Resumed tells whether the session goes on; if one was asked for and it
	// does not, ResumeReason says why: expired, overflowed, restarted, unknown.
	Resumed      bool   `msgpack:"resumed"`
	ResumeReason string `msgpack:"resume_reason,omitempty"`
	Seen         int64  `msgpack:"seen"`
	// WindowMS is how long the session outlives its connection.
	WindowMS int64 `msgpack:"window_ms,omitempty"`
	// Credit is what the service grants the client, in bytes.
	Credit int64 `msgpack:"credit"`
	// KeepAliveMS is how often the client is to ping, IdleMS after how much
	// silence it is dropped.
	KeepAliveMS int64    `msgpack:"keep_alive_ms"`
	IdleMS      int64    `msgpack:"idle_ms"`
	Limits      Limits   `msgpack:"limits"`
	Features    []string `msgpack:"features,omitempty"`
	Node        string   `msgpack:"node,omitempty"`
	Fingerprint string   `msgpack:"fingerprint"`
	// Contract is the contract's JSON document; empty if the client holds it.
	Contract string `msgpack:"contract,omitempty"`
}

// Limits are what the service takes of one message.
type Limits struct {
	Message int64 `msgpack:"message"` // bytes of a frame
	Batch   int64 `msgpack:"batch"`   // bytes of a WebSocket message
	Depth   int64 `msgpack:"depth"`
	Values  int64 `msgpack:"values"`
}

type dropFrame struct {
	Code     int64  `msgpack:"code"`
	Reason   string `msgpack:"reason"`
	Retry    string `msgpack:"retry"`
	AfterMS  int64  `msgpack:"after_ms,omitempty"`
	SpreadMS int64  `msgpack:"spread_ms,omitempty"`
}

type errorFrame struct {
	Code   int64  `msgpack:"code"`
	Reason string `msgpack:"reason"`
	Path   string `msgpack:"path,omitempty"`
}

// maxReason bounds a reason and a path, what is told to a peer and what a peer
// tells, in bytes.
const maxReason = 1000

// AppendHello appends a hello frame.
func AppendHello(dst []byte, h *HelloFrame) []byte {
	return appendControl(appendHead(dst, Hello, 2), h)
}

// maxArgs bounds the values in connect arguments, keys included. They are kept
// as long as their connection, and a decoded value takes up to some hundred
// times its encoding: 16 KiB of empty maps took 1 MiB.
const maxArgs = 1000

var errArgs = bus.Errorf(bus.CodeInvalidArgument, "connect args: more than %d values", maxArgs)

// AppendArgs encodes connect arguments. It fails when they hold what cannot be
// sent.
func AppendArgs(args map[string]any) ([]byte, error) {
	if args == nil {
		return nil, nil
	}
	b, err := AppendAny(nil, args)
	if err == nil && countValues(b) > maxArgs {
		return nil, errArgs
	}
	return b, err
}

// DecodeArgs reads connect arguments; none is nil. The bytes need not have
// been scanned.
func DecodeArgs(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if _, err := Scan(b); err != nil {
		return nil, err
	}
	if countValues(b) > maxArgs {
		return nil, errArgs
	}
	v, _ := readAny(b, 0)
	args, ok := v.(map[string]any)
	if !ok {
		return nil, bus.Errorf(bus.CodeProtocolError, "frame hello: args must be a map")
	}
	return args, nil
}

// DecodeHello reads the map of a hello frame.
func DecodeHello(body []byte) (*HelloFrame, error) {
	h := new(HelloFrame)
	if err := decodeControl(Hello, body, h); err != nil {
		return nil, err
	}
	if h.Seen < 0 || h.Credit < 0 {
		return nil, bus.Errorf(bus.CodeProtocolError, "frame hello: seen and credit must not be negative")
	}
	return h, nil
}

// welcomeSize is about what a welcome takes without a contract, in bytes.
const welcomeSize = 512

// AppendWelcome appends a welcome frame.
func AppendWelcome(dst []byte, w *WelcomeFrame) []byte {
	dst = slices.Grow(dst, welcomeSize+len(w.Contract))
	return appendControl(appendHead(dst, Welcome, 2), w)
}

// DecodeWelcome reads the map of a welcome frame.
func DecodeWelcome(body []byte) (*WelcomeFrame, error) {
	w := new(WelcomeFrame)
	if err := decodeControl(Welcome, body, w); err != nil {
		return nil, err
	}
	if w.Seen < 0 || w.WindowMS < 0 || w.Credit < 0 || w.KeepAliveMS < 0 || w.IdleMS < 0 || w.Limits.Message < 0 || w.Limits.Batch < 0 {
		return nil, bus.Errorf(bus.CodeProtocolError, "frame welcome: a number that must not be negative is")
	}
	return w, nil
}

// AppendDrop appends a drop frame.
func AppendDrop(dst []byte, e *bus.Error) []byte {
	return appendControl(appendHead(dst, Drop, 2), &dropFrame{
		Code:     int64(e.Code),
		Reason:   cut(e.Text()),
		Retry:    e.Retry.When.String(),
		AfterMS:  e.Retry.After.Milliseconds(),
		SpreadMS: e.Retry.Spread.Milliseconds(),
	})
}

// DecodeDrop reads the map of a drop frame: why the peer ends the connection.
func DecodeDrop(body []byte) (*bus.Error, error) {
	var d dropFrame
	if err := decodeControl(Drop, body, &d); err != nil {
		return nil, err
	}
	return &bus.Error{
		Code:   code(d.Code),
		Reason: cut(d.Reason),
		Remote: true,
		Retry: bus.Retry{
			When:   bus.ParseWhen(d.Retry),
			After:  milliseconds(uint64(max(d.AfterMS, 0))),
			Spread: milliseconds(uint64(max(d.SpreadMS, 0))),
		},
	}, nil
}

// code reads a code; what is none means unknown.
func code(n int64) bus.Code {
	if n <= 0 || n > 999 {
		return bus.CodeUnknown
	}
	return bus.Code(n)
}

// AppendError appends an error frame without its number: frame re failed.
func AppendError(dst []byte, re uint64, e *bus.Error) []byte {
	dst = appendUint(appendHead(dst, Error, 4), re)
	return appendControl(dst, &errorFrame{Code: int64(e.Code), Reason: cut(e.Reason), Path: cut(e.Path)})
}

// DecodeError reads the map of an error frame.
func DecodeError(body []byte) (*bus.Error, error) {
	var f errorFrame
	if err := decodeControl(Error, body, &f); err != nil {
		return nil, err
	}
	c := code(f.Code)
	return &bus.Error{Code: c, Reason: cut(f.Reason), Path: cut(f.Path), Remote: true, Retry: bus.Retry{When: c.Retry()}}, nil
}

// A GoawayFrame from a service asks the client to move to another connection.
// From a client it says that it begins nothing more here: the service ends the
// connection once all that was begun is finished.
type GoawayFrame struct {
	// DeadlineMS is when the connection will be dropped, SpreadMS over how long
	// clients are to begin.
	DeadlineMS int64 `msgpack:"deadline_ms,omitempty"`
	SpreadMS   int64 `msgpack:"spread_ms,omitempty"`
	// Target is the URL to move to; empty leaves it to the client.
	Target string `msgpack:"target,omitempty"`
}

// AppendGoaway appends a goaway frame.
func AppendGoaway(dst []byte, g *GoawayFrame) []byte {
	return appendControl(appendHead(dst, Goaway, 2), g)
}

// DecodeGoaway reads the map of a goaway frame.
func DecodeGoaway(body []byte) (*GoawayFrame, error) {
	g := new(GoawayFrame)
	if err := decodeControl(Goaway, body, g); err != nil {
		return nil, err
	}
	if g.DeadlineMS < 0 || g.SpreadMS < 0 {
		return nil, bus.Errorf(bus.CodeProtocolError, "frame goaway: a time that must not be negative is")
	}
	return g, nil
}

// The optional parts of the protocol: what both hello and welcome list is used.
const (
	// FeatureResume: a session outlives its connection.
	FeatureResume = "resume"
	// FeatureMove: goaway is acted on.
	FeatureMove = "move"
)

// cut keeps a reason to its bound, and valid UTF-8.
func cut(s string) string {
	b := []byte(s)
	if len(b) > maxReason {
		b = b[:maxReason]
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

// appendControl appends a control frame's map.
func appendControl(dst []byte, v any) []byte {
	buf := bytes.NewBuffer(dst)
	e := msgpack.GetEncoder()
	defer msgpack.PutEncoder(e)
	e.Reset(buf)
	e.UseCompactInts(true)
	e.UseCompactFloats(false)
	e.SetSortMapKeys(true)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("wire: control frame %T: %v", v, err)) // only our own types come here, with args that AppendAny took
	}
	return buf.Bytes()
}

// decodeControl reads a control frame's map, which has been scanned.
func decodeControl(k Kind, body []byte, into any) error {
	if key := keyTypesOf(reflect.TypeOf(into).Elem()).check(body, 0); key != "" {
		return bus.Errorf(bus.CodeProtocolError, "frame %s: the value of %s is of the wrong type", k, key)
	}
	d := msgpack.GetDecoder()
	defer msgpack.PutDecoder(d)
	d.Reset(bytes.NewReader(body))
	if err := d.Decode(into); err != nil {
		return bus.Wrap(bus.CodeProtocolError, err, "frame "+k.String()+": its map cannot be read")
	}
	return nil
}
