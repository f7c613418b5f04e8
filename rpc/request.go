package rpc

import (
	"context"
	"io"

	"busd/access"
)

// A Request is the call in hand. It must not be changed.
type Request struct {
	Service, Method string
	// ID is made for each call, and said in the answer's X-Request-Id.
	ID string
	// Remote is the caller's network address; empty for a call that came over a
	// stable connection.
	Remote string
	// Caller is who asks, by his credential; Grant who he is for this call.
	Caller *access.Caller
	Grant  *access.Grant
	// VO and Setup are what a DIRAC client says of itself; they prove nothing.
	VO, Setup string
}

// RequestOf returns the call that a method's context belongs to; nil: none.
func RequestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

type requestKey struct{}

// A Stream is a download with what is known of it.
type Stream struct {
	// Reader is read to its end, and closed if it is an io.Closer.
	Reader io.Reader
	// Size is its length in bytes; 0: not known.
	Size int64
	// ContentType is "application/octet-stream; charset=iso-8859-1" if empty: with a
	// charset DIRAC's client does not guess at one over the whole body.
	ContentType string
	// Name is the file's name; empty: none.
	Name string
}
