package msgbus_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"busd/bus"
	"busd/msgbus"
)

// A service says what happens when a client connects, what to do with each
// message, and what when the client is gone.
func Example() {
	svc := &msgbus.Service{
		Schema: pingPong,
		OnConnect: func(_ context.Context, c *msgbus.Conn) error {
			if c.Args()["site"] == nil {
				return bus.Errorf(bus.CodeInvalidArgument, "say which site you are")
			}
			return nil
		},
		OnDrop: func(_ context.Context, c *msgbus.Conn, why error) {
			log.Printf("%s has gone: %v", c.Identity(), why)
		},
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong(m))
	})
	srv, err := msgbus.NewServer(msgbus.Config{}, svc)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/Framework/PingPong", srv) // over TLS, with client certificates
	fmt.Println(srv.Services()[0].Name())
	// Output: Framework/PingPong
}

// What comes for one agent is sent to it by name, wherever it is connected;
// what comes for some, to their group.
func ExampleService_SendTo() {
	svc := &msgbus.Service{Schema: pingPong}
	msgbus.Handle(svc, func(_ context.Context, c *msgbus.Conn, _ Ping) error {
		c.Service().Group("awake").Add(c) // until it is dropped
		return nil
	})
	if _, err := msgbus.NewServer(msgbus.Config{}, svc); err != nil {
		log.Fatal(err)
	}
	err := svc.SendTo(context.Background(), "dns:agent-7/pilot-17", Pong{ID: 1})
	fmt.Println(bus.CodeOf(err))
	fmt.Println(svc.Group("awake").Broadcast(context.Background(), Pong{ID: 2}))
	// Output:
	// not_found
	// <nil>
}
