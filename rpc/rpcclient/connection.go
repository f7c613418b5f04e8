package rpcclient

import (
	"context"
	"crypto/tls"
	"io"
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
	wire := newWire(raw)
	conn := tls.Client(wire, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = wire.Close() // the handshake's error says more
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		wire.patient.Store(true)
		return conn, nil // which net/http wants to see as it is
	}
	return &line{wire: newWire(conn)}, nil
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

// A wire is a connection that knows whether it is over.
type wire struct {
	net.Conn

	over chan struct{} // closed when nothing more comes
	once sync.Once
	// patient: an error of writing is held back until nothing more comes. A server that
	// has had enough says why, and closes: net/http would not look at what it says.
	patient atomic.Bool
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, over: make(chan struct{})} }

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil && w.patient.Load() {
		w.isOver()
	}
	return n, err
}

// SetWriteDeadline is called for the last word of TLS, behind which nothing is waited
// for.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.patient.Store(false)
	return w.Conn.SetWriteDeadline(t)
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.end()
	}
	return n, err
}

// Close closes it.
func (w *wire) Close() error {
	w.end()
	return w.Conn.Close()
}

func (w *wire) end() { w.once.Do(func() { close(w.over) }) }

// lastWords is how long what cannot be written waits for what is still to be read.
const lastWords = time.Second

// isOver waits a little until it is.
func (w *wire) isOver() bool {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-w.over:
		return true
	case <-timer.C:
		return false
	}
}

// A line is a connection of HTTP/1.1 that knows how much was written to it: it carries
// one call at a time, and what was not written was not executed.
type line struct {
	*wire

	written atomic.Int64
}

// Write counts, and is patient.
func (l *line) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p) // TLS sends a record whole, or says that it did not
	l.written.Add(int64(n))
	if err != nil {
		l.isOver()
	}
	return n, err
}

// endOf is why a connection of TLS is over; nil: it is not, or no more is known.
func endOf(conn *tls.Conn) error {
	if w, ok := conn.NetConn().(*wire); !ok || !w.isOver() {
		return nil
	}
	_, err := io.Copy(io.Discard, conn) // which waits for nothing any more
	return err
}

// continueTimeout is how long an upload waits for the service's word to go on.
const continueTimeout = 3 * time.Second
