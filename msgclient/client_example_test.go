package msgclient_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"busd/msgclient"
)

// A client says what to do with what comes, and stays connected until its
// context ends.
func Example() {
	c, err := msgclient.New(msgclient.Config{
		URL:      "wss://bus.example:8443/Test/Room",
		CertFile: "agent.crt", KeyFile: "agent.key", CAFiles: []string{"ca.crt"},
		OnConnect: func(ctx context.Context, c *msgclient.Client) {
			if err := c.Send(ctx, Ping{ID: 1}); err != nil {
				log.Print(err)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Pong) error {
		return c.Send(ctx, Ping{ID: m.ID + 1})
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log.Fatal(c.Run(ctx))
}

// A request waits for its answer.
func ExampleRequest() {
	var c *msgclient.Client // made by New, connected by Connect or Run

	pong, err := msgclient.Request[Pong](context.Background(), c, Ping{ID: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pong.ID)
}

// A client without Go types builds what it sends from the service's contract.
func ExampleClient_NewRecord() {
	var c *msgclient.Client // made by New, connected by Connect or Run

	ping, err := c.NewRecord("Ping")
	if err != nil {
		log.Fatal(err)
	}
	if err := ping.Set("id", 1); err != nil {
		log.Fatal(err)
	}
	pong, err := c.RequestRecord(context.Background(), ping)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pong.Get("id"))
}
