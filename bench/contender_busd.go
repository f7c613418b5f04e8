package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"busd/access"
	"busd/daemon"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
	"busd/schema"
)

// busdService is the name of the service that busd serves.
const busdService = "Bench/Works"

// A Datum is the message of all works: what others send as bytes, and a number.
type Datum struct {
	ID   int64  `bus:"id" doc:"counts the messages of a connection"`
	Data []byte `bus:"data,minlen=16,maxlen=65536" doc:"what the other contenders send"`
}

// MessageName is the name on the wire.
func (Datum) MessageName() string { return "Datum" }

var busdContract = schema.MustNew(busdService,
	schema.Of[Datum](schema.FromBoth).WithDoc("is sent back, counted or answered by many, as its data say"),
)

func datumOf(p []byte) Datum { return Datum{ID: int64(payload(p).number()), Data: p} }

var busdContender = &contender{
	name: "busd", title: "busd",
	does:    "the program (daemon.Main) with its defaults, and msgclient; a contract of one message, which both ends check; a reply in the handler",
	lacks:   "sessions end with the server's process; no broker, one node",
	batches: "what waits is one WebSocket message, by itself",
	serve:   serveBusd, dial: dialBusd, returns: true,
}

var busdRequestContender = &contender{
	name: "busd-request", title: "busd, Request",
	does:    "the same, where the client waits in msgclient.Request for the answer to its message",
	batches: "as busd",
	serve:   serveBusd, dial: dialBusdRequest, returns: true, only: []string{"ping-pong"},
}

// busdConfig is the configuration of the program. Everything that it does not
// say is the default.
const busdConfig = `listeners: [{address: %q}]
admin: {address: off}
tls: {certificate: %q, key: %q, client_ca: [%q], session_tickets: %q}
keep_alive: {interval: %s, idle: %s}
`

// serveBusd runs the program: in this process, as a busd of one's own is made.
func serveBusd(s *serverSide) error {
	private := filepath.Join(s.Dir, "busd")
	if err := os.MkdirAll(private, 0o700); err != nil {
		return err
	}
	file := filepath.Join(private, "busd.yaml")
	text := fmt.Sprintf(busdConfig, s.Address,
		filepath.Join(s.Dir, serverFile), filepath.Join(s.Dir, serverKeyFile), filepath.Join(s.Dir, caFile), filepath.Join(private, "tickets"),
		s.KeepAlive, s.KeepAlive*5/2)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	os.Args = []string{"busd", "serve", "--config", file}
	daemon.Main(newBusdService(s.app))
	return nil // daemon.Main ends the process
}

func newBusdService(app *application) *msgbus.Service {
	methods := rpc.NewService(busdService)
	methods.Allow = access.Authenticated
	rpc.Export(methods, "reflect", func(id int64, text string) callMessage {
		return callMessage{ID: id, Text: text}
	}).Named("id", "text").Describe("returns its arguments")

	svc := &msgbus.Service{Schema: busdContract, Allow: access.Authenticated, Methods: methods}
	app.broadcast = func(payload []byte) error { return svc.Broadcast(context.Background(), datumOf(payload)) }
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Datum) error {
		reply, err := app.receive(m.Data)
		if !reply {
			return err
		}
		return c.Reply(ctx, m)
	})
	return svc
}

func dialBusd(ctx context.Context, o dialOptions) (conn, error) {
	b := &busdConn{done: make(chan struct{})}
	client, err := msgclient.New(msgclient.Config{
		URL: "wss://" + o.Address + "/" + busdService, TLS: o.TLS, DialContext: o.Dial, Schema: busdContract,
		Name: "bench", Version: "1",
		OnConnect: func(context.Context, *msgclient.Client) {
			if o.Up != nil {
				o.Up()
			}
		},
		OnDrop: func(context.Context, *msgclient.Client, error) { b.dropped() },
	})
	if err != nil {
		return nil, err
	}
	b.client = client
	msgclient.On(client, func(ctx context.Context, c *msgclient.Client, m Datum) error {
		if next := o.Receive(m.Data); next != nil {
			return c.Send(ctx, datumOf(next))
		}
		return nil
	})
	if err := client.Connect(ctx); err != nil {
		return nil, err
	}
	go func() { _ = client.Run(context.Background()) }() //nolint:gosec // G118: it lives as long as the process
	return b, nil
}

func dialBusdRequest(ctx context.Context, o dialOptions) (conn, error) {
	c, err := dialBusd(ctx, o)
	if err != nil {
		return nil, err
	}
	return &busdRequestConn{c.(*busdConn)}, nil
}

// A busdConn is a client. It sends pings by itself.
type busdConn struct {
	client *msgclient.Client
	once   sync.Once
	done   chan struct{}
}

// Send sends a message.
func (b *busdConn) Send(payload []byte) error {
	return b.client.Send(context.Background(), datumOf(payload))
}

// Done is closed when the first connection has ended.
func (b *busdConn) Done() <-chan struct{} { return b.done }

func (b *busdConn) dropped() { b.once.Do(func() { close(b.done) }) }

// A busdRequestConn is a client that waits for answers.
type busdRequestConn struct{ *busdConn }

// Request sends a message and waits for the answer.
func (b *busdRequestConn) Request(payload []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := msgclient.Request[Datum](ctx, b.client, datumOf(payload))
	return err
}
