package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The subjects: what is for the service, for everybody, and before the number
// of a client.
const (
	natsServiceSubject = "works"
	natsAllSubject     = "all"
	natsClientSubject  = "client."
)

// natsHandshake is how long a client may take to be let in, in seconds.
const natsHandshake = 30

const (
	natsModule = "github.com/nats-io/nats-server/v2"
	natsDoes   = "an embedded nats-server, the service a subscriber inside its process: a message passes the broker, which is more than the others do"
	natsLacks  = "bytes without names, types or checks; no order between subjects, no acks, no flow control (what is too slow is cut off)"
	natsBatch  = "both ends collect what waits and write it together"
)

var natsContender = &contender{
	name: "nats-tls", title: "nats-server, TLS", module: natsModule,
	does: natsDoes, lacks: natsLacks, batches: natsBatch,
	serve: func(s *serverSide) error { return serveNATS(s, false) },
	dial:  func(ctx context.Context, o dialOptions) (conn, error) { return dialNATS(ctx, o, "tls") },
}

var natsWebContender = &contender{
	name: "nats-ws", title: "nats-server, WebSocket", module: natsModule,
	does: natsDoes, lacks: natsLacks, batches: natsBatch,
	serve: func(s *serverSide) error { return serveNATS(s, true) },
	dial:  func(ctx context.Context, o dialOptions) (conn, error) { return dialNATS(ctx, o, "wss") },
}

func serveNATS(s *serverSide, web bool) error {
	host, portText, err := net.SplitHostPort(s.Address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return err
	}
	o := &server.Options{Host: host, NoSigs: true, NoLog: true, AuthTimeout: natsHandshake, MaxConn: 65536}
	if web {
		o.DontListen = true
		o.Websocket = server.WebsocketOpts{
			Host: host, Port: port, TLSConfig: s.pki.serverTLS(), HandshakeTimeout: natsHandshake * time.Second,
		}
	} else {
		o.Port, o.TLSConfig, o.TLSVerify, o.TLSTimeout = port, s.pki.serverTLS(), true, natsHandshake
	}
	broker, err := server.NewServer(o)
	if err != nil {
		return err
	}
	broker.Start()
	if !broker.ReadyForConnections(startTimeout) {
		return fmt.Errorf("the broker is not ready after %s", startTimeout)
	}
	if err := natsService(broker, s.app); err != nil {
		return err
	}
	broker.WaitForShutdown()
	return nil
}

// natsService subscribes the service inside the broker's process.
func natsService(broker *server.Server, app *application) error {
	service, err := nats.Connect("", nats.InProcessServer(broker))
	if err != nil {
		return err
	}
	app.broadcast = func(payload []byte) error { return service.Publish(natsAllSubject, payload) }
	sub, err := service.Subscribe(natsServiceSubject, func(m *nats.Msg) {
		reply, err := app.receive(m.Data)
		if err == nil && reply {
			err = service.Publish(m.Reply, m.Data)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // it would lose messages
		return err
	}
	return service.Flush()
}

func dialNATS(ctx context.Context, o dialOptions, scheme string) (conn, error) {
	c := &natsConn{inbox: natsClientSubject + strconv.Itoa(o.Client), done: make(chan struct{})}
	client, err := nats.Connect(scheme+"://"+o.Address,
		nats.Secure(o.TLS), nats.SetCustomDialer(natsDialer{ctx, o.Dial}), nats.NoReconnect(), nats.Timeout(natsHandshake*time.Second),
		nats.PingInterval(o.KeepAlive), nats.ClosedHandler(func(*nats.Conn) { c.once.Do(func() { close(c.done) }) }),
	)
	if err != nil {
		return nil, err
	}
	c.client = client
	receive := func(m *nats.Msg) {
		if next := o.Receive(m.Data); next != nil {
			_ = c.Send(next) // a connection that has ended says so by Done
		}
	}
	for _, subject := range []string{c.inbox, natsAllSubject} {
		if _, err := client.Subscribe(subject, receive); err != nil {
			client.Close()
			return nil, err
		}
	}
	if err := client.FlushWithContext(ctx); err != nil { // subscribed
		client.Close()
		return nil, err
	}
	return c, nil
}

type natsDialer struct {
	ctx  context.Context
	dial dialFunc
}

// Dial opens a TCP connection.
func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(d.ctx, network, address)
}

// A natsConn is a client with a subject of its own. It sends pings by itself.
type natsConn struct {
	client *nats.Conn
	inbox  string
	once   sync.Once
	done   chan struct{}
}

// Send publishes a message.
func (c *natsConn) Send(payload []byte) error {
	return c.client.PublishRequest(natsServiceSubject, c.inbox, payload)
}

// Done is closed when the connection has ended.
func (c *natsConn) Done() <-chan struct{} { return c.done }
