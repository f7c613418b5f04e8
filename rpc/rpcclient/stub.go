package rpcclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
	"busd/schema"
)

// maxStub bounds a stub that is read, in bytes.
const maxStub = 16 << 20

// A Stub is a call that can be stored, and made later by [Client.Replay]. Its text is
// DIRAC's rpcStub, [[destination, options], method, arguments]:
//
//	[["Framework/Adder", {"VO": "vo", "timeout": 600}], "add", [1, 2]]
//
// It holds no credentials, neither when it is made nor when it is read: who replays it
// calls as himself, or with a view made by [Client.For].
type Stub struct {
	// Service is whose method it is, System/Component.
	Service string
	Method  string
	// Args are a list, or an object of named ones, in JEncode. Those that are named
	// are of no use to DIRAC.
	Args jencode.Raw
	// VO and Setup are what DIRAC's servers are told of the client; empty: what the
	// client that replays it says.
	VO, Setup string
	// Timeout bounds the call where its context has no deadline; 0: the client's
	// does.
	Timeout time.Duration
}

// Stub makes a stub of a call with positional arguments.
func (c *Client) Stub(method string, args ...any) (Stub, error) {
	list, err := encodeList(args)
	return c.stub(method, list), err
}

// StubNamed makes a stub of a call with named arguments: a map with string keys, or a
// struct.
func (c *Client) StubNamed(method string, args any) (Stub, error) {
	object, err := encodeObject(args)
	return c.stub(method, object), err
}

func (c *Client) stub(method string, args jencode.Raw) Stub {
	return Stub{Service: c.service, Method: method, Args: args, VO: c.cfg.VO, Setup: c.cfg.Setup}
}

// Replay makes the call of a stub, and returns its result as [Client.Call] does. The
// stub must be of the client's service.
func (c *Client) Replay(ctx context.Context, s Stub) (any, error) {
	return Replay[any](ctx, c, s)
}

// Replay makes the call of a stub, and returns its result as a T, as [Call] does. The
// stub must be of the client's service.
func Replay[T any](ctx context.Context, c *Client, s Stub) (T, error) {
	var into, zero T
	if s.Service != c.service {
		return zero, unsent(bus.Errorf(bus.CodeInvalidArgument, "the stub is for %.80s, the client calls %s", s.Service, c.service))
	}
	if err := checkArgs(s.Args); err != nil {
		return zero, unsent(err)
	}
	if _, has := ctx.Deadline(); !has && s.Timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, s.Timeout, timeoutError{s.Timeout})
		defer cancel()
		ctx = limited
	}
	k := c.newCall(s.Method, s.Args)
	if s.VO != "" {
		k.vo = s.VO
	}
	if s.Setup != "" {
		k.setup = s.Setup
	}
	if e := c.call(ctx, k, &into); e != nil {
		return zero, e
	}
	return into, nil
}

// ParseStub reads a stub, also one of DIRAC's, in JEncode. Of its options those that
// it has no use for are left out, credentials among them.
func ParseStub(text []byte) (Stub, error) {
	s, err := parseStub(text)
	if err != nil {
		return Stub{}, bus.Errorf(bus.CodeInvalidArgument, `stub: %v: want [["System/Component", {…}], "method", […]]`, err)
	}
	return s, nil
}

func parseStub(text []byte) (s Stub, err error) {
	if len(text) > maxStub {
		return s, fmt.Errorf("%d bytes are more than %d", len(text), maxStub)
	}
	var parts [3]jencode.Raw
	var head [2]jencode.Raw
	var destination string
	var options map[string]jencode.Raw
	for _, part := range []struct {
		raw  *jencode.Raw
		into any
	}{{(*jencode.Raw)(&text), &parts}, {&parts[0], &head}, {&head[0], &destination}, {&head[1], &options}, {&parts[1], &s.Method}} {
		if err := jencode.UnmarshalAnswer(*part.raw, part.into, jencode.DIRAC); err != nil {
			return s, err
		}
	}
	if s.Service, err = serviceOf(destination); err != nil {
		return s, err
	}
	s.Args = append(jencode.Raw(nil), parts[2]...)
	if err := checkArgs(s.Args); err != nil {
		return s, err
	}
	return s, s.options(options)
}

// serviceOf takes a destination, a service's name or its URL.
func serviceOf(destination string) (string, error) {
	name := destination
	if strings.Contains(destination, "://") {
		u, err := url.Parse(destination)
		if err != nil {
			return "", fmt.Errorf("the destination is no URL: %.80q", destination)
		}
		name = strings.TrimPrefix(u.Path, "/")
	}
	return name, schema.CheckService(name)
}

// options takes those that say something of the call. All others are about who makes
// it.
func (s *Stub) options(all map[string]jencode.Raw) error {
	for name, into := range map[string]*string{"VO": &s.VO, "setup": &s.Setup} {
		if raw, ok := all[name]; ok && string(raw) != "null" {
			if err := jencode.Unmarshal(raw, into, jencode.DIRAC); err != nil {
				return fmt.Errorf("option %s: %w", name, err)
			}
		}
	}
	if raw, ok := all["timeout"]; ok && string(raw) != "null" {
		var seconds float64
		if err := jencode.Unmarshal(raw, &seconds, jencode.DIRAC); err != nil {
			return fmt.Errorf("option timeout: %w", err)
		}
		if seconds > 0 { // DIRAC's 0 is none
			s.Timeout = time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
		}
	}
	return nil
}

// maxTimeout bounds what a stub says.
const maxTimeout = 24 * time.Hour

// Encode returns the stub's text, in JEncode.
func (s Stub) Encode() ([]byte, error) {
	if err := checkArgs(s.Args); err != nil {
		return nil, err
	}
	options := map[string]any{}
	if s.VO != "" {
		options["VO"] = s.VO
	}
	if s.Setup != "" {
		options["setup"] = s.Setup
	}
	if s.Timeout > 0 {
		options["timeout"] = int64(max(s.Timeout/time.Second, 1))
	}
	return jencode.Append(nil, []any{[]any{s.Service, options}, s.Method, s.Args}, jencode.DIRAC)
}

// MarshalJSON is [Stub.Encode] for encoding/json. It fails for arguments that JEncode
// can say and JSON cannot: NaN and the infinities.
func (s Stub) MarshalJSON() ([]byte, error) {
	text, err := s.Encode()
	if err == nil && !json.Valid(text) {
		err = bus.Errorf(bus.CodeInvalidArgument, "stub: NaN and infinities are no JSON: use Encode")
	}
	return text, err
}

// UnmarshalJSON is [ParseStub].
func (s *Stub) UnmarshalJSON(text []byte) error {
	parsed, err := ParseStub(text)
	if err == nil {
		*s = parsed
	}
	return err
}
