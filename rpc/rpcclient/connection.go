package rpcclient

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
)

// newTransport is the client's pool of connections.
func (c *core) newTransport() *http.Transport {
	return &http.Transport{
		DialTLSContext:         c.dial,
		DialContext:            noTLS,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           0, // each URL has its own bound
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		ExpectContinueTimeout:  continueTimeout,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// noTLS is for URLs that are no https, of which there are none.
func noTLS(context.Context, string, string) (net.Conn, error) {
	return nil, bus.Errorf(bus.CodeInvalidArgument, "want a URL that begins with https://")
}

// dial opens a connection, with the credentials of now. A request that has found another
// one meanwhile leaves this one to the next.
func (c *core) dial(ctx context.Context, network, address string) (net.Conn, error) {
	by, ok := ctx.Value(connectBy{}).(time.Time)
	if !ok {
		by = time.Now().Add(dialTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	conn, err := c.open(ctx, network, address)
	if err != nil && c.life.Err() != nil {
		err = context.Cause(c.life)
	}
	return conn, err
}

func (c *core) open(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conf, err := c.tls(host)
	if err != nil {
		return nil, err
	}
	under := c.cfg.DialContext
	if under == nil {
		under = new(net.Dialer).DialContext
	}
	raw, err := under(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		return conn, nil // which net/http wants to see
	}
	return newLine(conn), nil
}

// protocols are what is offered; DIRAC's servers know of no offers and speak
// HTTP/1.1.
func protocols() []string { return []string{"h2", "http/1.1"} }

func (c *core) tls(server string) (*tls.Config, error) {
	if c.creds != nil {
		conf, err := c.creds.TLS(server)
		if err != nil {
			return nil, err
		}
		conf.NextProtos = protocols()
		return conf, nil
	}
	conf := c.cfg.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName = server
	}
	if len(conf.NextProtos) == 0 {
		conf.NextProtos = protocols()
	}
	return conf, nil
}

// A line is a connection of HTTP/1.1 that knows how much was written to it: it carries
// one call at a time, and what was not written was not executed.
type line struct {
	net.Conn

	written atomic.Int64
	over    chan struct{} // closed when nothing more comes
	once    sync.Once
}

func newLine(conn net.Conn) *line { return &line{Conn: conn, over: make(chan struct{})} }

// lastWords is how long what cannot be written waits for what is still to be read.
const lastWords = time.Second

// Write holds an error back until nothing more comes: a server that has had enough
// says why, and closes. net/http would not look at the answer.
func (l *line) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p) // TLS sends a record whole, or says that it did not
	l.written.Add(int64(n))
	if err != nil {
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-l.over:
		case <-timer.C:
		}
	}
	return n, err
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if err != nil {
		l.end()
	}
	return n, err
}

// Close closes it.
func (l *line) Close() error {
	l.end()
	return l.Conn.Close()
}

func (l *line) end() { l.once.Do(func() { close(l.over) }) }

// continueTimeout is how long an upload waits for the service's word to go on.
const continueTimeout = 3 * time.Second
