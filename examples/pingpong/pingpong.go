// Package pingpong is the smallest service there is: whoever sends it Ping gets
// a Pong with the same id, and whoever calls add gets a sum. It is the Go twin of the ping-pong example in
// DIRAC's documentation of stable connections, made to be copied.
//
// service/ is a program that serves it, client/ one that plays with it.
package pingpong

import (
	"context"

	"busd/access"
	"busd/msgbus"
	"busd/rpc"
	"busd/schema"
)

// A Ping asks for a Pong.
type Ping struct {
	ID int64 `bus:"id" doc:"comes back in the Pong"`
}

// MessageName is the name on the wire.
func (Ping) MessageName() string { return "Ping" }

// A Pong answers a Ping.
type Pong struct {
	ID int64 `bus:"id" doc:"the id of the Ping"`
}

// MessageName is the name on the wire.
func (Pong) MessageName() string { return "Pong" }

// Schema is the contract: clients send Ping, the service sends Pong.
var Schema = schema.MustNew("Framework/PingPong",
	schema.Of[Ping](schema.FromClient).WithDoc("asks for a Pong with the same id"),
	schema.Of[Pong](schema.FromService).WithDoc("answers a Ping"),
)

// New makes the service: messages and methods, for everybody who has shown who he
// is.
func New() *msgbus.Service {
	methods := rpc.NewService(Schema.Service())
	methods.Allow = access.Authenticated
	rpc.Export(methods, "add", func(a, b int64) int64 { return a + b }).Named("a", "b").Describe("adds two numbers")

	svc := &msgbus.Service{Schema: Schema, Allow: access.Authenticated, Methods: methods}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong{ID: m.ID})
	})
	return svc
}
