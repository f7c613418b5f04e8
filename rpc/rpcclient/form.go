package rpcclient

import (
	"bytes"
	"io"
	"net/url"

	"busd/rpc/jencode"
)

// A call is one to be made.
type call struct {
	method string
	// args is a list of arguments, or an object of named ones, in JEncode.
	args jencode.Raw
	// vo and setup are what DIRAC's servers are told of the client.
	vo, setup string
	raw       bool // the answer is content, not a value
}

// named tells whether the arguments are named.
func (c *call) named() bool { return len(c.args) > 0 && c.args[0] == '{' }

// form is the body that carries a call, urlencoded as DIRAC's client does: method, args,
// extraCredentials, clientVO, clientSetup, rawContent. Named arguments go in kwargs,
// beside procedure in place of method: DIRAC's servers, which know no kwargs, do not know
// that either, and refuse the call where they would execute it without arguments.
func (c *call) form(claim jencode.Raw) []byte {
	b := make([]byte, 0, len(c.args)+len(c.args)/2+128)
	if c.named() {
		b = appendField(b, "procedure", c.method)
		b = appendField(b, "kwargs", string(c.args))
	} else {
		b = appendField(b, "method", c.method)
		b = appendField(b, "args", string(c.args))
	}
	if len(claim) > 0 {
		b = appendField(b, "extraCredentials", string(claim))
	}
	b = appendField(b, "clientVO", c.vo)
	b = appendField(b, "clientSetup", c.setup)
	if c.raw {
		b = appendField(b, "rawContent", "True")
	}
	return b
}

func appendField(b []byte, name, value string) []byte {
	if len(b) > 0 {
		b = append(b, '&')
	}
	b = append(append(b, name...), '=')
	return append(b, url.QueryEscape(value)...)
}

// A body is what a request carries.
type body interface {
	// open returns its bytes from the beginning, and how many there are; -1: not
	// known.
	open() (r io.ReadCloser, size int64, err error)
	// fresh tells whether it can be opened, again if it has been.
	fresh() bool
}

// bytesBody is one in memory.
type bytesBody []byte

func (b bytesBody) open() (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func (bytesBody) fresh() bool { return true }
