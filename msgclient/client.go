package msgclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/mtls"
	"busd/schema"
)

// A Client is an identity: its connections come and go, it does not. Its
// methods may be called concurrently, also inside handlers, but for Close,
// which waits for them.
type Client struct {
	// Fixed at creation.
	cfg   Config
	log   *zap.Logger
	creds *mtls.Credentials // nil: cfg.TLS is used

	handlers subscriptions
	urls     addresses
	ignored  atomic.Uint64
	connects atomic.Uint64
	serving  sync.WaitGroup  // one for each connection
	dialing  chan struct{}   // holds a token while nobody dials
	life     context.Context // done when ended is set
	endLife  context.CancelFunc

	mu sync.Mutex
	// Guarded by mu.
	current *connection    // nil: not connected
	name    bus.Identity   // as of the last welcome
	known   *schema.Schema // the contract last received
	changed chan struct{}  // closed when current or ended changes, then replaced
	running bool
	ended   error // why there will be no connection any more
}

// New makes a client. It starts nothing and does no I/O; the error says what
// is wrong with the Config.
func New(cfg Config) (*Client, error) {
	urls, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger.Named("msgclient"),
		changed: make(chan struct{}), dialing: make(chan struct{}, 1),
	}
	c.urls.init(urls, cfg.MinWait)
	c.dialing <- struct{}{}
	c.life, c.endLife = context.WithCancel(context.Background())
	if cfg.TLS == nil {
		c.creds = &mtls.Credentials{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, CAFiles: cfg.CAFiles}
	}
	return c, nil
}

// errClosed is why a closed client does nothing any more.
func errClosed() *bus.Error {
	return bus.Errorf(bus.CodeGoingAway, "the client was closed").Dropped()
}

// Connect makes one attempt to connect, with each URL in turn, and returns its
// outcome: nil once the service has welcomed the client and OnConnect has
// returned. It is not needed before [Client.Run], and does not keep the client
// connected. A client that is connected gets [bus.CodeAlreadyExists]. It may be
// called inside OnDrop, by a client that does not Run.
func (c *Client) Connect(ctx context.Context) error {
	select {
	case <-c.dialing:
		defer func() { c.dialing <- struct{}{} }()
	case <-ctx.Done():
		return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "another attempt to connect is under way")
	}
	if err := c.vacate(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		return ended
	}
	var err error
	for _, target := range c.urls.round() {
		if err = c.attempt(ctx, target); err == nil || ctx.Err() != nil || c.life.Err() != nil || isFinal(err) {
			break
		}
	}
	return err
}

// vacate makes room for the next connection: the last one's handlers must have
// returned, so that those of two never run together.
func (c *Client) vacate(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.current
	if last == nil || c.ended != nil {
		return nil
	}
	if last.link.Cause() == nil {
		return bus.Errorf(bus.CodeAlreadyExists, "the client is connected already")
	}
	c.mu.Unlock()
	select {
	case <-last.over:
	case <-ctx.Done():
	}
	c.mu.Lock()
	if ctx.Err() != nil {
		return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "handlers of the last connection still run")
	}
	if c.current == last {
		c.current = nil
	}
	return nil
}

// Run keeps the client connected, and returns why it no longer is: the
// context's cause, once the service has been told and handlers have returned;
// the error of a service that refuses for good; or that the client was closed.
// A client runs once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running || c.ended != nil {
		defer c.mu.Unlock()
		if c.ended != nil {
			return c.ended
		}
		return bus.Errorf(bus.CodeFailedPrecondition, "the client runs already")
	}
	c.running = true
	c.mu.Unlock()

	err := c.keepConnected(ctx)
	if ctx.Err() != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = c.Close(closing) // the context's end is the news
		return context.Cause(ctx)
	}
	if current := c.end(err); current != nil {
		current.sayGoodbye()
	}
	c.serving.Wait()
	return err
}

// Close says goodbye: it takes nothing more to send, waits until the service has
// read, checked and queued everything that was sent, or ctx ends, then drops the
// connection with [bus.CodeGoingAway] and waits for the handlers. Run returns,
// and the client cannot be used any more. The error says that not everything
// arrived.
//
// It must not be called inside a handler, nor in OnConnect or OnDrop.
func (c *Client) Close(ctx context.Context) error {
	var err error
	if current := c.end(errClosed()); current != nil {
		err = current.link.Flush(ctx)
		if errors.Is(err, bus.ErrDropped) {
			err = nil // it went first
		}
		current.sayGoodbye()
	}
	c.serving.Wait()
	return err
}

// end makes the client useless, once: nothing more is sent, and there will be no
// other connection. It returns the last one.
func (c *Client) end(why error) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = why
		c.endLife()
		c.changedLocked()
	}
	return c.current
}

// goodbye is the cause of the drop by which a client that is closed ends its
// connection; nothing else has it.
type goodbye struct{ conn *connection }

func (goodbye) Error() string { return "Close was called" }

func (conn *connection) sayGoodbye() {
	conn.link.Drop(bus.Wrap(bus.CodeGoingAway, goodbye{conn}, "the client was closed"))
}

// isGoodbyeOf tells whether a connection ended because its client was closed.
func isGoodbyeOf(conn *connection, why error) bool {
	var e *bus.Error
	return errors.As(why, &e) && e.Cause == error(goodbye{conn}) //nolint:errorlint // ours, and never wrapped
}

// changedLocked wakes all who wait for a connection.
func (c *Client) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// connection waits for a connection until ctx ends. A handler whose connection
// has ended does not wait: the next one comes after it has returned.
func (c *Client) connection(ctx context.Context) (*connection, error) {
	for {
		c.mu.Lock()
		current, ended, changed := c.current, c.ended, c.changed
		c.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
		if current != nil && current.link.Cause() == nil {
			return current, nil
		}
		if h, ok := ctx.Value(incomingKey{}).(*handling); ok && h.conn.link.Cause() != nil {
			return nil, h.conn.link.Cause()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "not connected")
		}
	}
}

// Connected tells whether the client is connected now.
func (c *Client) Connected() bool {
	_, ok := c.TRID()
	return ok
}

// TRID names the connection of now; false: there is none.
func (c *Client) TRID() (bus.TRID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.link.Cause() != nil {
		return "", false
	}
	return bus.TRID(c.current.welcome.TRID), true
}

// Identity is what the service called this client in the last welcome; empty
// before the first.
func (c *Client) Identity() bus.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Contract is the service's contract, as it came with the last welcome; nil
// before the first.
func (c *Client) Contract() *schema.Schema {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// NewRecord makes an empty message of the service's contract.
func (c *Client) NewRecord(message string) (*schema.Record, error) {
	contract := c.Contract()
	if contract == nil {
		return nil, bus.Errorf(bus.CodeFailedPrecondition, "the contract is not known before the first connection")
	}
	d, ok := contract.Message(message)
	if !ok {
		return nil, bus.Errorf(bus.CodeUnimplemented, "the contract of %s has no message %s", contract.Service(), message)
	}
	return schema.NewRecord(d), nil
}

// Ignored counts the messages that came and that nobody handles.
func (c *Client) Ignored() uint64 { return c.ignored.Load() }

// Connects counts the welcomes.
func (c *Client) Connects() uint64 { return c.connects.Load() }

// dropped takes note of a connection's end.
func (c *Client) dropped(conn *connection, why error) {
	lived := time.Since(conn.since)
	c.log.Info("disconnected", keys.TRID(bus.TRID(conn.welcome.TRID)), keys.Code(why), keys.Reason(why),
		keys.Duration(lived))
	c.urls.failed(conn.address, why) // wherever the fault was, another is as good
	<-conn.ready                     // OnConnect's context has ended
	close(conn.over)
	if c.cfg.OnDrop != nil && !isGoodbyeOf(conn, why) {
		// As a handler's context it does not wait for the next connection, which
		// comes after OnDrop.
		ctx := &handling{Context: c.life, client: c, conn: conn}
		c.protect("OnDrop", func() { c.cfg.OnDrop(ctx, c, why) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.why, conn.lived = why, lived
	close(conn.gone)
	c.changedLocked()
}
