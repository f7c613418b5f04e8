package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// A contender is one way to move messages, or to make calls.
type contender struct {
	name   string // in results, and for -only
	title  string
	module string // whose version is told; empty: Go's

	// For readers of the report.
	does    string // how it is used
	lacks   string // what busd does and it does not
	batches string // what it sends together

	// serve listens on the side's address and serves until the process ends.
	serve func(s *serverSide) error
	// dial opens a connection, and returns once the server has accepted it. nil:
	// there are only calls.
	dial func(ctx context.Context, o dialOptions) (conn, error)
	// call opens what calls are made with, by any number of callers at a time. nil:
	// there are only messages.
	call func(ctx context.Context, o dialOptions) (caller, error)

	// returns: its client connects again by itself.
	returns bool
	// only, unless nil, are the works that it takes part in.
	only []string
}

// dialOptions are what a client connects with.
type dialOptions struct {
	Client    int // its number
	Address   string
	TLS       *tls.Config
	Dial      dialFunc
	KeepAlive time.Duration
	// Receive takes each message, one at a time; the message is not kept. If it
	// returns one, that is sent on the same connection before the next is taken.
	Receive func(payload []byte) (next []byte)
	// Up is told of each connection, by a client that connects again by itself.
	Up func()
}

// A conn is the client's end of a connection.
type conn interface {
	sender
	// Done is closed when the connection has ended.
	Done() <-chan struct{}
}

// A pinger is a conn that says that it is there only when it is told to.
type pinger interface {
	Ping() error
}

// A requester is a conn that can send a message and wait for the answer to it.
type requester interface {
	Request(payload []byte) error
}

// A caller makes calls.
type caller interface {
	Call(ctx context.Context, m callMessage) (callMessage, error)
}

// A callMessage is what calls carry both ways.
type callMessage struct {
	ID   int64  `json:"id" bus:"id"`
	Text string `json:"text" bus:"text"`
}

// contenders are all of them, in the order of tables. The floor comes first.
var contenders = []*contender{
	floorContender, gorillaContender, coderContender, gwsContender, grpcContender, natsContender, natsWebContender,
	busdContender, busdRequestContender,
	httpContender, http2Contender, grpcUnaryContender, busdPostContender, busdHTTPSContender, busdStableContender,
}

func contenderNamed(name string) (*contender, error) {
	var names []string
	for _, c := range contenders {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	return nil, fmt.Errorf("there is no contender %s, only %s", name, strings.Join(names, ", "))
}
