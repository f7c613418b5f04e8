package rpcclient

import (
	"context"
	"net/http"

	"busd/bus"
	"busd/rpc/jencode"
)

// formType is what DIRAC's client sends.
var formType = []string{"application/x-www-form-urlencoded"}

// Call calls a method with positional arguments, and returns its result as a T. The
// arguments are what package jencode writes. The error is an [*Error]; of a result that
// does not fit into T it has [bus.CodeInvalidMessage], and the call was executed.
func Call[T any](ctx context.Context, c *Client, method string, args ...any) (T, error) {
	list, err := encodeList(args)
	return result[T](ctx, c, method, list, err)
}

// CallNamed is [Call] with named arguments: a map with string keys, or a struct. Only
// services of busd take them; a DIRAC server refuses the call.
func CallNamed[T any](ctx context.Context, c *Client, method string, args any) (T, error) {
	object, err := encodeObject(args)
	return result[T](ctx, c, method, object, err)
}

func result[T any](ctx context.Context, c *Client, method string, args jencode.Raw, err error) (T, error) {
	var into, zero T
	if err != nil {
		return zero, unsent(err)
	}
	if e := c.call(ctx, c.newCall(method, args), &into); e != nil {
		return zero, e
	}
	return into, nil
}

// Call calls a method with positional arguments and returns its result: nil, bool, int64,
// *big.Int, float64, string, []byte, time.Time, jencode.Date, jencode.Serializable,
// []any or map[string]any. The error is an [*Error].
func (c *Client) Call(ctx context.Context, method string, args ...any) (any, error) {
	return Call[any](ctx, c, method, args...)
}

// CallNamed is [Client.Call] with named arguments: a map with string keys, or a
// struct. Only services of busd take them; a DIRAC server refuses the call.
func (c *Client) CallNamed(ctx context.Context, method string, args any) (any, error) {
	return CallNamed[any](ctx, c, method, args)
}

// CallRaw calls a method with arguments that are JEncode already, a list or, named, an
// object, and returns the result as it came. The error is an [*Error].
func (c *Client) CallRaw(ctx context.Context, method string, args jencode.Raw) (jencode.Raw, error) {
	return result[jencode.Raw](ctx, c, method, args, checkArgs(args))
}

func checkArgs(args jencode.Raw) error {
	var err error
	if len(args) > 0 && args[0] == '{' {
		_, err = jencode.Members(args, jencode.DIRAC)
	} else {
		_, err = jencode.Elements(args, jencode.DIRAC)
	}
	if err != nil {
		return bus.Errorf(bus.CodeInvalidArgument, "arguments: want a list, or an object of named ones, in JEncode: %v", err)
	}
	return nil
}

// listSize is for how many bytes of arguments there is room at first.
const listSize = 64

func encodeList(args []any) (jencode.Raw, error) {
	if len(args) == 0 {
		return jencode.Raw("[]"), nil
	}
	list, err := jencode.Append(make([]byte, 0, listSize), args, jencode.DIRAC)
	if err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "arguments: %v", err)
	}
	return list, nil
}

func encodeObject(args any) (jencode.Raw, error) {
	object, err := jencode.Append(nil, args, jencode.DIRAC)
	switch {
	case err != nil:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "arguments: %v", err)
	case len(object) == 0 || object[0] != '{':
		return nil, bus.Errorf(bus.CodeInvalidArgument, "named arguments: want a map or a struct, got %T", args)
	}
	return object, nil
}

func (c *Client) newCall(method string, args jencode.Raw) *call {
	return &call{method: method, args: args, vo: c.cfg.VO, setup: c.cfg.Setup}
}

// call makes a call by whichever way the client has; the result goes into what into
// points to.
func (c *Client) call(ctx context.Context, k *call, into any) *Error {
	if k.method == "" {
		return unsent(bus.Errorf(bus.CodeInvalidArgument, "a method's name is required"))
	}
	if c.stable != nil && !c.forwards {
		return c.stable.call(ctx, c, k, into)
	}
	ctx, _, cancel := c.within(ctx)
	defer cancel()
	return c.post(ctx, k, into)
}

// post makes a call over https.
func (c *Client) post(ctx context.Context, k *call, into any) *Error {
	return c.send(ctx, &request{
		method: k.method, kind: formType, body: bytesBody(k.form(c.claim)),
		take: func(r *http.Response) *Error { return c.readAnswer(r, into, jencode.DIRAC) },
	})
}
